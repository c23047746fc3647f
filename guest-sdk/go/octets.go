package postern

// Octets is a message as it is. Methods and events that take or give it see no JSON.
type Octets []byte

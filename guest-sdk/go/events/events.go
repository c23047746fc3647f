// Package events tells subscribers that something has happened. The manifest grants topics by pattern:
// `[grants] events = ["users.*"]`. Package event takes events.
package events

import (
	"postern.dev/postern"
	"postern.dev/postern/internal/host"
	"postern.dev/postern/internal/message"
)

// Publish hands a value as JSON to every subscriber of the topic and waits for none of them. It gives how many
// there were. Delivery is at most once: a subscriber whose queue is full misses it. One of a topic that
// the gateway makes durable is stored when this returns.
func Publish[T any](topic string, value T) (subscribers int, err error) {
	octets, err := message.Encode(value)
	if err != nil {
		return 0, err
	}
	return PublishOctets(topic, "application/json", octets)
}

// PublishOctets is Publish for a payload as it is. An empty content type is none.
func PublishOctets(topic, contentType string, payload postern.Octets) (subscribers int, err error) {
	n, err := host.Publish(topic, contentType, payload)
	return int(n), err
}

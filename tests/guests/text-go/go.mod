module text-go

go 1.24

require postern.dev/postern v0.1.0

replace postern.dev/postern => ../../../guest-sdk/go

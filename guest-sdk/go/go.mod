module postern.dev/postern

go 1.24

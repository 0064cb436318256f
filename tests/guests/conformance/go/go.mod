module conformance_go

go 1.24

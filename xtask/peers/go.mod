// Names Kubo by its exact version, so that the tests and the bench can build it from its module.
module atoll-peers

go 1.26

require github.com/ipfs/kubo v0.43.0

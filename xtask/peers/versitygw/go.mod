// Names versitygw by its exact version, so that the tests can build it from its module.
module atoll-versitygw

go 1.26

require github.com/versity/versitygw v1.8.0

// Names pebble by its exact version, so that the tests can build it from its module.
module atoll-pebble

go 1.26

require github.com/letsencrypt/pebble/v2 v2.10.1

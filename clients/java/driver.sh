#!/bin/sh
# The conformance driver of this client. `make driver` builds it; it is built here where that was forgotten.
set -eu
cd "$(dirname "$0")"
[ -f target/driver.classpath ] || make --silent driver >&2
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "target/classes:target/test-classes:$(cat target/driver.classpath)" \
    dev.fuseboard.driver.Driver

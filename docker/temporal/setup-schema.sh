#!/bin/sh
# Make Temporal's two databases and bring their tables to the version of this image. Safe to run again: a database
# that exists is kept, and a schema that is newer than 0.0 only gets the updates it lacks.
# The connection comes from SQL_PLUGIN, SQL_HOST, SQL_PORT, SQL_USER and SQL_PASSWORD, which the tool reads itself.
set -eu

for store in temporal:temporal temporal_visibility:visibility; do
    database=${store%%:*}
    temporal-sql-tool --db "$database" create
    temporal-sql-tool --db "$database" setup-schema -v 0.0
    temporal-sql-tool --db "$database" update-schema -d "/etc/temporal/schema/postgresql/v12/${store##*:}/versioned"
done
echo "Temporal's schema is up to date."

#!/usr/bin/env bash
# Makes the database and its user if there are none yet, then serves; the arguments are mariadbd's.
set -euo pipefail
data=/var/lib/mysql
if [[ ! -d $data/mysql ]]; then
    mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal --skip-test-db
fi
# The server executes one statement a line before it accepts connections.
cat >/tmp/setup.sql <<EOF
ALTER USER root@localhost IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;
CREATE OR REPLACE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$MARIADB_PASSWORD';
GRANT ALL ON \`$MARIADB_DATABASE\`.* TO '$MARIADB_USER'@'%';
EOF
exec mariadbd --no-defaults --datadir="$data" --socket=/run/mysqld/mysqld.sock --bind-address=0.0.0.0 --port=3306 \
    --skip-name-resolve --init-file=/tmp/setup.sql "$@"

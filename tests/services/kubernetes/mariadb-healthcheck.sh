#!/usr/bin/env bash
# Whether the server answers; the arguments are those of the image's script, and say no more than that.
MYSQL_PWD=$MARIADB_ROOT_PASSWORD exec mariadb --no-defaults --user=root --socket=/run/mysqld/mysqld.sock --execute='SELECT 1'

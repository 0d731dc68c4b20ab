/* One connection string out of all that names the database. Private to fs/options/. */
#pragma once

#include "fs/options/option_table.h"

/* Makes opt->conninfo of connection_string and the single options (host, port ...). SOURCES
 * says, for each entry of the table, where its value is from. A single option from a stronger
 * source beats what the string says; otherwise the string does; a service in it stands for all
 * that it leaves open. A password that libpq would take from PGPASSWORD is in it, too. Returns
 * 0, or -errno with a sentence in ERR. */
MUST_USE int conninfo_assemble(struct options *opt, const enum option_source *sources,
			       struct buf *err);

/* Appends CONNINFO as keyword=value pairs, passwords left out. */
void conninfo_without_secrets(const char *conninfo, struct buf *out);

/* True if STRING (URI or keyword=value) holds a password, or cannot be read. */
bool conninfo_has_secret(const char *string);

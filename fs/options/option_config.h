/* The configuration file. Private to fs/options/. */
#pragma once

#include "util/buf.h"

/* Called for each key with its value as text. Returns 0, or -errno with a sentence in ERR. */
typedef int (*config_fn)(void *arg, const char *key, const char *value, struct buf *err);

/* Reads the JSON object in FILE and calls FN for each key whose value is not null. In strings,
 * ${VAR} stands for an environment variable; ${VAR:default} and ${VAR:-default} for its value
 * or, where it is unset or empty, the default; $$ for one dollar sign. Variables that an option
 * with a secret names are overwritten. Returns 0, or -errno with a sentence in ERR that names
 * the file. */
MUST_USE int config_read(const char *file, config_fn fn, void *arg, struct buf *err);

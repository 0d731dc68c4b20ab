/* Logging: one line a message, to stderr or to syslog. Log once, at the lowest layer that knows
 * why; callers only pass on. Never hand a secret to it. All functions are thread-safe. */
#pragma once

#include "util/cleanup.h"

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Chooses what is logged and where. Call before threads start; may be called again. */
void log_setup(enum log_level most, bool to_syslog);

/* Parses "error", "warning", "info" or "debug" (any case). Returns false if NAME is none of
 * them. */
bool log_level_parse(const char *name, enum log_level *out);

/* True if a message of LEVEL would be written: to skip costly arguments. */
bool log_wants(enum log_level level);

/* Writes one line: time, level, thread id, message. A newline in the message becomes a space. */
void log_message(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

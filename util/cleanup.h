/* Scope-bound cleanup: a variable declared with one of these attributes is given back when it
 * leaves its scope. Ownership leaves a scope by move_ptr() alone. */
#pragma once

#include <cjson/cJSON.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p) {
	free(*(void **)p);
}
static inline void cleanup_file(FILE **f) {
	if (*f != NULL)
		fclose(*f);
}
static inline void cleanup_fd(const int *fd) {
	if (*fd >= 0)
		close(*fd);
}
static inline void cleanup_result(PGresult **r) {
	PQclear(*r);
}
static inline void cleanup_json(cJSON **j) {
	cJSON_Delete(*j);
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free), unused))
#define AUTO_FILE __attribute__((cleanup(cleanup_file), unused))
#define AUTO_FD __attribute__((cleanup(cleanup_fd), unused))
#define AUTO_RESULT __attribute__((cleanup(cleanup_result), unused))
#define AUTO_JSON __attribute__((cleanup(cleanup_json), unused))

/* Takes the pointer out of a variable whose cleanup would free it; the caller owns it from here. */
#define move_ptr(p)                                                                                \
	({                                                                                         \
		__typeof__(p) moved_ = (p);                                                        \
		(p) = NULL;                                                                        \
		moved_;                                                                            \
	})

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

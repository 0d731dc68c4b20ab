#include "fs/options/option_secret.h"

#include "fs/options/option_table.h"
#include "util/secret.h"

static const char variable[] = "PGPASSWORD";

/* What libpq makes of the environment and of SERVICE. It finds the service by a variable only. */
static PQconninfoOption *defaults_of(const char *service) {
	const char *before = getenv("PGSERVICE");
	AUTO_FREE char *kept = before != NULL ? strdup(before) : NULL;
	if (service == NULL)
		return PQconndefaults();
	if ((before != NULL && kept == NULL) || setenv("PGSERVICE", service, 1) != 0)
		return NULL;
	PQconninfoOption *list = PQconndefaults();
	if (kept != NULL)
		(void)setenv("PGSERVICE", kept, 1);
	else
		unsetenv("PGSERVICE");
	return list;
}

char *secret_of_libpq(const char *service) {
	const char *given = getenv(variable);
	char *found = NULL;
	if (given == NULL || given[0] == '\0')
		return NULL;
	PQconninfoOption *list = defaults_of(service);
	for (const PQconninfoOption *o = list; o != NULL && o->keyword != NULL; o++) {
		if (strcmp(o->keyword, "password") != 0 || o->val == NULL)
			continue;
		/* a service's own is read again for each connection: somebody may change it */
		if (strcmp(o->val, given) == 0)
			found = strdup(o->val);
		secret_wipe(o->val);
	}
	PQconninfoFree(list);
	return found;
}

void secret_forget(const char *name) {
	size_t len = strlen(name);
	for (char **e = environ; e != NULL && *e != NULL; e++)
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			secret_wipe(*e + len + 1);
	unsetenv(name);
}

void secret_forget_all(void) {
	secret_forget(variable);
	for (int i = 0; i < option_count; i++)
		if (option_table[i].secret && option_table[i].env != NULL)
			secret_forget(option_table[i].env);
}

#include "fs/options/option_config.h"

#include "fs/options/option_secret.h"
#include "fs/options/option_table.h"
#include "util/secret.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { LARGEST_CONFIG = 1 << 20 }; /* bytes */

/* TEXT begins behind "${". Appends what the variable says and sets *REST behind the brace. */
static int expand_one(const char *text, const char **rest, struct buf *out, struct buf *err) {
	size_t name_len = 0;
	while (isalnum((unsigned char)text[name_len]) || text[name_len] == '_')
		name_len++;
	const char *end = strchr(text, '}');
	bool has_default = text[name_len] == ':';
	if (end == NULL || name_len == 0 || (!has_default && text + name_len != end))
		return buf_refuse(
			err,
			"\"${\" begins neither ${VAR} nor ${VAR:default}; $$ stands for a dollar sign");
	AUTO_FREE char *name = strndup(text, name_len);
	const char *value = name != NULL ? getenv(name) : NULL;
	*rest = end + 1;
	if (value != NULL && value[0] != '\0') {
		buf_puts(out, value);
	} else if (has_default) {
		const char *start = text + name_len + (text[name_len + 1] == '-' ? 2 : 1);
		buf_add(out, start, (size_t)(end - start));
	} else if (value == NULL) {
		return buf_refuse(err, "the variable %.*s is not set", (int)name_len, text);
	}
	return 0;
}

/* Appends TEXT with its variables replaced. Returns 0, or -EINVAL with a sentence in ERR. */
static int expand(const char *text, struct buf *out, struct buf *err) {
	buf_puts(out, "");
	while (*text != '\0') {
		if (text[0] == '$' && text[1] == '{') {
			int rc = expand_one(text + 2, &text, out, err);
			if (rc < 0)
				return rc;
		} else {
			buf_putc(out, *text);
			text += text[0] == '$' && text[1] == '$' ? 2 : 1;
		}
	}
	return out->failed ? -ENOMEM : 0;
}

/* The value as a person would write it after `-o key=`. */
static int value_text(const cJSON *item, struct buf *out, struct buf *err) {
	if (cJSON_IsString(item))
		return expand(item->valuestring, out, err);
	if (cJSON_IsBool(item)) {
		buf_puts(out, cJSON_IsTrue(item) ? "true" : "false");
	} else if (cJSON_IsNumber(item)) {
		bool whole = item->valuedouble == floor(item->valuedouble) &&
			     fabs(item->valuedouble) < 1e15;
		buf_printf(out, whole ? "%.0f" : "%.15g", item->valuedouble);
	} else {
		return buf_refuse(err, "a string, a number, true or false is needed");
	}
	return out->failed ? -ENOMEM : 0;
}

static int read_file(const char *path, struct buf *text, struct buf *err) {
	AUTO_FILE FILE *f = fopen(path, "re");
	struct stat st;
	if (f == NULL || fstat(fileno(f), &st) < 0)
		return buf_refuse(err, "configuration file %s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return buf_refuse(err, "configuration file %s: %s", path, strerror(EISDIR));
	buf_resize(text, LARGEST_CONFIG + 1);
	if (text->failed)
		return -ENOMEM;
	size_t len = fread(text->data, 1, LARGEST_CONFIG + 1, f);
	if (ferror(f) || len > LARGEST_CONFIG)
		return buf_refuse(err, "configuration file %s: %s", path,
				  ferror(f) ? "it cannot be read" : "it is larger than 1 MiB");
	buf_resize(text, len);
	return 0;
}

static cJSON *parse_json(const char *path, const struct buf *text, struct buf *err) {
	const char *at = NULL;
	int line = 1;
	cJSON *json = cJSON_ParseWithLengthOpts(text->data, text->len + 1, &at, true);
	if (cJSON_IsObject(json))
		return json;
	if (json != NULL) {
		buf_printf(err, "configuration file %s: it is no JSON object", path);
		cJSON_Delete(json);
		return NULL;
	}
	for (const char *p = text->data; at != NULL && p < at && p < text->data + text->len; p++)
		line += *p == '\n';
	buf_printf(err, "configuration file %s, line %d: this is not JSON", path, line);
	return NULL;
}

/* Overwrites the variables that TEXT names. */
static void forget_variables(const char *text) {
	while ((text = strchr(text, '$')) != NULL) {
		size_t len = 0;
		while (text[1] == '{' &&
		       (isalnum((unsigned char)text[2 + len]) || text[2 + len] == '_'))
			len++;
		AUTO_FREE char *name = strndup(text + 2, len);
		if (len > 0 && name != NULL)
			secret_forget(name);
		text += text[1] == '$' ? 2 : 1;
	}
}

/* When all is read: another key may name the same variable. */
static void forget_secrets(cJSON *json) {
	cJSON *item;
	cJSON_ArrayForEach(item, json) {
		const struct option *o = option_find(item->string, strlen(item->string));
		if (o == NULL || !o->secret || !cJSON_IsString(item))
			continue;
		forget_variables(item->valuestring);
		secret_wipe(item->valuestring);
	}
}

static int take_values(const char *file, const cJSON *json, config_fn fn, void *arg,
		       struct buf *err) {
	const cJSON *item;
	cJSON_ArrayForEach(item, json) {
		AUTO_SECRET_BUF struct buf value = { 0 };
		AUTO_BUF struct buf why = { 0 };
		if (cJSON_IsNull(item))
			continue;
		int rc = value_text(item, &value, &why);
		if (rc == 0)
			rc = fn(arg, item->string, value.data, &why);
		if (rc < 0) {
			buf_printf(err, "configuration file %s: %s: %s", file, item->string,
				   why.data != NULL ? why.data : strerror(-rc));
			return rc;
		}
	}
	return 0;
}

int config_read(const char *file, config_fn fn, void *arg, struct buf *err) {
	AUTO_SECRET_BUF struct buf text = { 0 };
	int rc = read_file(file, &text, err);
	if (rc < 0)
		return rc;
	AUTO_JSON cJSON *json = parse_json(file, &text, err);
	if (json == NULL)
		return -EINVAL;
	rc = take_values(file, json, fn, arg, err);
	forget_secrets(json);
	return rc;
}

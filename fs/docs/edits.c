#include "fs/docs/edits.h"

#include "util/text/json_shape.h"

#include <string.h>

void edits_begin(struct edits *e, const struct buf *data) {
	*e = (struct edits){
		.end = data->len,
		.last = data->len > 0 ? data->data[data->len - 1] : '\0',
		.from = SIZE_MAX,
	};
}

static void changed(struct edits *e, size_t at) {
	e->from = at < e->from ? at : e->from;
}

void edits_write(struct edits *e, size_t offset, size_t size) {
	changed(e, offset);
	if (e->head == EDITS_ELSEWHERE)
		return;
	if (offset == 0)
		e->head = size;
	else
		e->head = offset == e->head ? e->head + size : EDITS_ELSEWHERE;
}

void edits_truncate(struct edits *e, size_t size) {
	changed(e, size);
	if (size == 0)
		e->head = 0;
	else if (size < e->head)
		e->head = EDITS_ELSEWHERE;
}

static bool is_json(const char *data, size_t len) {
	AUTO_BUF struct buf why = { 0 };
	return json_check_stored(data, len, &why) == 0;
}

static bool is_collection(const char *data, size_t len) {
	const char *at = data, *end = data + len;
	json_skip_space(&at, end);
	return at < end && (*at == '{' || *at == '[') && is_json(data, len);
}

/* Takes the bracket before the newline that was overwritten out of DATA, if what is left is a
 * document. */
static void overwrite_bracket(const struct edits *e, struct buf *data) {
	AUTO_BUF struct buf text = { 0 };
	size_t bracket = e->end - 2;
	if (strchr("]}", data->data[bracket]) == NULL)
		return;
	buf_add(&text, data->data, bracket);
	buf_add(&text, data->data + bracket + 1, data->len - bracket - 1);
	if (text.failed || !is_collection(text.data, text.len))
		return;
	struct buf old = *data;
	*data = text;
	text = old;
}

size_t edits_document(const struct edits *e, struct buf *data, bool synced) {
	bool head = synced && e->head != EDITS_ELSEWHERE && e->head > 0 && e->head < data->len;
	bool newline = e->end > 2 && e->last == '\n' && e->from == e->end - 1;
	if ((!head && !newline) || is_json(data->data, data->len))
		return data->len;
	if (newline)
		overwrite_bracket(e, data);
	return head && is_collection(data->data, e->head) ? e->head : data->len;
}

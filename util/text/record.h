/* Records: where one ends in the bytes of a CSV or JSON Lines file. The one rule for it: appended
 * and replaced rows files, ingest files and import all read with this reader.
 *
 * The bytes come in any pieces. The caller keeps those that were not taken yet in a buffer, and
 * asks for the next record in it. The records are the same however the bytes were cut.
 *
 * The rule:
 * - A line ends at LF; a CR before it belongs to the line end.
 * - In JSON Lines each line is a record.
 * - In CSV each line is a record, unless a quoted field goes on behind its end. Then the lines
 *   together are the record if line_check() takes them as one. If they turn out to be none (text
 *   behind the closing quote, a newline in a column that holds none, more characters than the
 *   column takes, another number of fields), the quote was stray: the first line is a record by
 *   itself.
 * - While the field is open nobody can know. If somebody wants to know (RECORD_SYNC, RECORD_END, or
 *   more than `most` bytes), the quote is stray if the file has more than one column and a line
 *   behind it is a good record by itself. If not, the record stays open.
 * - A line of more than `most` bytes, its end included, is told with its first `most` bytes; the
 *   rest of it is passed over.
 *
 * Pure; a reader belongs to one thread at a time. */
#pragma once

#include "util/text/format.h"

/* What follows the bytes that are given. */
enum record_more {
	RECORD_MORE, /* more may come */
	/* more may come, but what the given bytes are is to be known now, as far as it can be */
	RECORD_SYNC,
	RECORD_END, /* nothing: what is left is judged as it stands */
};

/*  kind            bytes that are taken                    what the caller does
 *  RECORD_NONE     none                                    waits for more bytes
 *  RECORD_FIRST    none; text is the file's first line     calls record_fields(), and asks again
 *  RECORD_HEADER   the line                                nothing
 *  RECORD_WHOLE    the record                              judges it
 *  RECORD_TAIL     the record; only with RECORD_END        judges it, or not: it has no line end
 *  RECORD_LONG     the line as far as it is there          refuses it: text has `most` bytes
 *  RECORD_OPEN     all lines of it that are there          refuses it: its quoted field has no end
 *  RECORD_REST     what was to be passed over              nothing */
enum record_kind {
	RECORD_NONE,
	RECORD_FIRST,
	RECORD_HEADER,
	RECORD_WHOLE,
	RECORD_TAIL,
	RECORD_LONG,
	RECORD_OPEN,
	RECORD_REST,
};

struct record_found {
	const char *
		/* without its line end, and without the byte order mark; borrowed from the given
		 * bytes */
		text;
	size_t len;
	size_t taken;    /* bytes: the next record begins behind them */
	uint64_t number; /* of the line that it begins in, from 1 */
	/* bytes of a UTF-8 byte order mark before text; only RECORD_FIRST and the first record */
	size_t mark;
};

/* How far the reader has looked into a record that is not whole yet. All 0 at a record's start. */
struct record_scan {
	size_t newline; /* bytes up to the first newline and with it; 0: none was seen */
	size_t at;      /* bytes looked at: for the first newline, then for the end of the record */
	size_t judged;  /* bytes looked through for a line that is good by itself; 0: none */
	int64_t chars;  /* of the quoted field that is open */
	uint64_t breaks; /* line ends inside quotes */
	uint64_t opened; /* of them, before the last quoted field began */
	int field;       /* that byte `at` belongs to */
	int state;       /* enum scan_state in record.c */
};

struct record_reader {
	const struct format *format;
	size_t most;                  /* bytes of one record, its line end included */
	struct line_checker *checker; /* of fields; borrowed; NULL until record_fields() */
	uint64_t lines;               /* lines taken, those inside quotes, too */
	uint64_t pass; /* so many lines are passed over first: they were taken before */
	bool skipping; /* inside a line that is passed over */
	bool header;   /* the first line is one, and not taken yet */
	size_t mark;   /* bytes of the mark before the first record */
	struct record_scan scan;
};

/* A reader at the start of a file of FORMAT. */
void record_begin(struct record_reader *r, const struct format *format, size_t most);

/* What the records of the file consist of: after RECORD_FIRST. CHECKER is borrowed. HEADER: the
 * first line is one. */
void record_fields(struct record_reader *r, struct line_checker *checker, bool header);

/* How many of a line's LEN bytes stand before its line end. */
static inline size_t record_without_end(const char *data, size_t len) {
	if (len > 0 && data[len - 1] == '\n')
		len--;
	if (len > 0 && data[len - 1] == '\r')
		len--;
	return len;
}

/* The next record of the LEN bytes at DATA, which begin behind what was taken last. To be called
 * with the same bytes and more until it takes some. c->fields of the checker are undefined
 * afterwards. Each byte is looked at a bounded number of times. */
enum record_kind record_next(struct record_reader *r, const char *data, size_t len,
			     enum record_more more, struct record_found *out);

/* The record FOUND, which was taken last, could not be dealt with: it comes again. */
void record_again(struct record_reader *r, const struct record_found *found);

/* The LEN bytes at DATA, which were not taken, are dropped by the caller: those that come next
 * begin a record. */
void record_drop(struct record_reader *r, const char *data, size_t len);

/* After RECORD_NONE: the number of the line in which a quoted field began that goes on behind a
 * line end and is not closed yet; or 0. */
uint64_t record_open_line(const struct record_reader *r);

/* A way to the test's server that can be cut at any message: a proxy on a Unix socket of its own,
 * which counts the messages of the PostgreSQL protocol in both directions. */
#pragma once

#include "tests/unit/dbkit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

struct cutter {
	char dir[64];       /* where its socket is */
	char conninfo[128]; /* of the way */
	struct sockaddr_un server;
	int listener;
	pthread_t thread;
	atomic_int ways;      /* connections that are open */
	atomic_long messages; /* since cutter_arm() */
	atomic_long cut_at;   /* the message that does not come through, and ends its connection */
	atomic_long step;     /* the next one is so many messages later; 0: there is no next one */
	atomic_int cuts;
};

/* One direction of a connection. */
struct half {
	int from, to;
	struct buf data; /* the piece of a message that is not whole yet */
	bool greets;     /* the next message is the client's first, which has no letter */
};

struct way {
	struct cutter *cutter;
	struct half up, down;
};

/* Bytes of the first message of H; 0: it is not all there. */
static inline size_t kit_message(const struct half *h) {
	size_t head = h->greets ? 0 : 1;
	uint32_t len;
	if (h->data.len < head + sizeof(len))
		return 0;
	memcpy(&len, h->data.data + head, sizeof(len));
	size_t all = head + ntohl(len);
	return h->data.len >= all ? all : 0;
}

static inline bool kit_write(int fd, const char *data, size_t len) {
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* Passes on what has come. False: the connection is to end. */
static inline bool kit_pass(struct cutter *c, struct half *h) {
	char bytes[65536];
	ssize_t n = read(h->from, bytes, sizeof(bytes));
	if (n <= 0)
		return false;
	buf_add(&h->data, bytes, (size_t)n);
	for (size_t len; (len = kit_message(h)) > 0;) {
		if (atomic_fetch_add(&c->messages, 1) + 1 == atomic_load(&c->cut_at)) {
			atomic_fetch_add(&c->cuts, 1);
			atomic_fetch_add(&c->cut_at, atomic_load(&c->step));
			return false;
		}
		if (!kit_write(h->to, h->data.data, len))
			return false;
		buf_consume(&h->data, len);
		h->greets = false;
	}
	return true;
}

static inline void *kit_way_main(void *arg) {
	struct way *w = arg;
	bool open = true;
	while (open) {
		struct pollfd fds[] = { { .fd = w->up.from, .events = POLLIN },
					{ .fd = w->down.from, .events = POLLIN } };
		open = poll(fds, 2, -1) > 0;
		if (open && fds[0].revents != 0)
			open = kit_pass(w->cutter, &w->up);
		if (open && fds[1].revents != 0)
			open = kit_pass(w->cutter, &w->down);
	}
	close(w->up.from);
	close(w->down.from);
	buf_free(&w->up.data);
	buf_free(&w->down.data);
	atomic_fetch_sub(&w->cutter->ways, 1);
	free(w);
	return NULL;
}

static inline void kit_way_open(struct cutter *c, int client) {
	pthread_t thread;
	struct way *w = calloc(1, sizeof(*w));
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (w == NULL || connect(server, (struct sockaddr *)&c->server, sizeof(c->server)) != 0)
		exit(1);
	*w = (struct way){ .cutter = c,
			   .up = { .from = client, .to = server, .greets = true },
			   .down = { .from = server, .to = client } };
	atomic_fetch_add(&c->ways, 1);
	if (pthread_create(&thread, NULL, kit_way_main, w) != 0)
		exit(1);
	pthread_detach(thread);
}

static inline void *kit_cutter_main(void *arg) {
	struct cutter *c = arg;
	int client;
	while ((client = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		kit_way_open(c, client);
	return NULL;
}

/* Opens a way to the server of ROWFS_TEST_CONNINFO, whose socket must be its first word,
 * "host=DIR". */
static inline void cutter_open(struct cutter *c) {
	const char *host = strchr(getenv("ROWFS_TEST_CONNINFO"), '=') + 1;
	struct sockaddr_un own = { .sun_family = AF_UNIX };
	*c = (struct cutter){ .dir = "/tmp/rowfs-cut.XXXXXX", .server.sun_family = AF_UNIX };
	snprintf(c->server.sun_path, sizeof(c->server.sun_path), "%.*s/.s.PGSQL.5432",
		 (int)strcspn(host, " "), host);
	if (mkdtemp(c->dir) == NULL)
		exit(1);
	snprintf(own.sun_path, sizeof(own.sun_path), "%s/.s.PGSQL.5432", c->dir);
	snprintf(c->conninfo, sizeof(c->conninfo), "host=%s user=rowfs dbname=postgres", c->dir);
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(c->listener, (struct sockaddr *)&own, sizeof(own)) != 0 ||
	    listen(c->listener, 64) != 0 ||
	    pthread_create(&c->thread, NULL, kit_cutter_main, c) != 0)
		exit(1);
}

/* From now on: the connection with message number CUT_AT (0: none) is lost instead of it; and with
 * every STEP-th message behind that, unless STEP is 0. */
static inline void cutter_arm(struct cutter *c, long cut_at, long step) {
	atomic_store(&c->cut_at, 0);
	atomic_store(&c->cuts, 0);
	atomic_store(&c->messages, 0);
	atomic_store(&c->step, step);
	atomic_store(&c->cut_at, cut_at);
}

/* When all pools on the way are freed. */
static inline void cutter_close(struct cutter *c) {
	char path[128];
	shutdown(c->listener, SHUT_RDWR);
	pthread_join(c->thread, NULL);
	close(c->listener);
	WAIT_UNTIL(atomic_load(&c->ways) == 0);
	snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", c->dir);
	unlink(path);
	rmdir(c->dir);
}

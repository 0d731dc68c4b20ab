#include "tests/unit/table.h"
#include "util/cleanup.h"

enum door_state { DOOR_OPEN, DOOR_SHUT, DOOR_BROKEN, DOOR_STATES };
enum door_event { DOOR_PUSH, DOOR_PULL, DOOR_KICK, DOOR_EVENTS };

static const char *const states[DOOR_STATES] = { "open", "shut", "broken" };
static const char *const events[DOOR_EVENTS] = { "push", "pull", "kick" };
static const state_next moves[DOOR_STATES][DOOR_EVENTS] = {
	[DOOR_OPEN][DOOR_PUSH] = STATE_TO(DOOR_SHUT),
	[DOOR_SHUT][DOOR_PULL] = STATE_TO(DOOR_OPEN),
	[DOOR_SHUT][DOOR_KICK] = STATE_TO(DOOR_BROKEN),
};
static struct state_table door = STATE_TABLE("door", states, events, moves);
static struct state_table safe_door =
	STATE_TABLE_SAFE("door", states, events, moves, STATE_TO(DOOR_BROKEN));

static void test_moves(void) {
	CHECK_INT(state_move(&door, DOOR_OPEN, DOOR_PUSH), DOOR_SHUT);
	CHECK_INT(state_move(&door, DOOR_SHUT, DOOR_PULL), DOOR_OPEN);
	CHECK_INT(state_move(&door, DOOR_SHUT, DOOR_KICK), DOOR_BROKEN);
	CHECK(state_may(&door, DOOR_OPEN, DOOR_PUSH));
	CHECK(!state_may(&door, DOOR_OPEN, DOOR_PULL));
	CHECK(!state_may(&door, DOOR_BROKEN, DOOR_KICK));
}

static void test_undeclared(void) {
	check_table(&door);
	check_table(&safe_door);
}

static void test_out_of_range(void) {
	static const int wrong[][2] = { { -1, DOOR_PUSH },
					{ DOOR_STATES, DOOR_PUSH },
					{ DOOR_OPEN, -1 },
					{ DOOR_OPEN, DOOR_EVENTS } };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		CHECK(!state_may(&door, wrong[i][0], wrong[i][1]));
#ifdef ROWFS_DEBUG
		CHECK_INT(undeclared(&door, wrong[i][0], wrong[i][1]), SIGABRT);
#endif
	}
}

#ifdef ROWFS_DEBUG
/* A table of its own: the others' moves have been told. */
static struct state_table told_door = STATE_TABLE("told", states, events, moves);

static void test_trace(void) {
	char path[] = "/tmp/rowfs-states-XXXXXX", text[1024] = "";
	AUTO_FD int fd = mkstemp(path);
	setenv("ROWFS_STATES", path, 1);
	for (int i = 0; i < 2; i++)
		CHECK_INT(state_move(&told_door, DOOR_SHUT, DOOR_PULL), DOOR_OPEN);
	unsetenv("ROWFS_STATES");
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	CHECK_STR(text, "declared told open push shut\n"
			"declared told shut pull open\n"
			"declared told shut kick broken\n"
			"passed told shut pull open\n");
	unlink(path);
}
#endif

int main(void) {
	test_moves();
	test_undeclared();
	test_out_of_range();
#ifdef ROWFS_DEBUG
	test_trace();
#endif
	return check_end();
}

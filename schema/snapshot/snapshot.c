#include "schema/snapshot/snapshot.h"

#include "schema/statements/sql.h"

static void snapshot_free(struct snapshot *s) {
	notices_free(s->notices);
	tree_free(s->tree);
	catalog_free(s->catalog);
	layout_free(s->layout);
	free(s->text);
	free(s);
}

struct snapshot *snapshot_new(char *text, struct layout *layout, struct catalog *catalog,
			      const struct snapshot *before, struct buf *mistakes) {
	struct snapshot *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		buf_puts(mistakes, "layout: out of memory\n");
		catalog_free(catalog);
		layout_free(layout);
		free(text);
		return NULL;
	}
	*s = (struct snapshot){ .text = text, .layout = layout, .catalog = catalog };
	atomic_init(&s->references, 1);
	if (layout != NULL && catalog != NULL)
		s->tree =
			tree_build(layout, catalog, before != NULL ? before->tree : NULL, mistakes);
	if (s->tree != NULL && !sql_build(s->tree)) {
		buf_puts(mistakes, "layout: out of memory\n");
		tree_free(s->tree);
		s->tree = NULL;
	}
	if (s->tree == NULL) {
		snapshot_free(s);
		return NULL;
	}
	s->tree->snapshot = s;
	return s;
}

struct snapshot *snapshot_hold(struct snapshot *snapshot) {
	/* who calls this has a reference, so it cannot be the first one: nothing to be ordered */
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
	return snapshot;
}

void snapshot_drop(struct snapshot *snapshot) {
	/* all that others did with it comes before it is freed */
	if (snapshot != NULL &&
	    atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) == 1)
		snapshot_free(snapshot);
}

void snapshot_hold_place(const struct place *place) {
	if (place->tree->snapshot != NULL)
		(void)snapshot_hold(place->tree->snapshot);
}

void snapshot_drop_place(const struct place *place) {
	snapshot_drop(place->tree->snapshot);
}

void snapshots_init(struct snapshots *snapshots) {
	mutex_init(&snapshots->lock, MUTEX_SNAPSHOT);
	snapshots->current = NULL;
}

void snapshots_destroy(struct snapshots *snapshots) {
	snapshot_drop(snapshots->current);
	snapshots->current = NULL;
	mutex_destroy(&snapshots->lock);
}

struct snapshot *snapshots_current(struct snapshots *snapshots) {
	LOCK_SCOPE(&snapshots->lock);
	return snapshots->current != NULL ? snapshot_hold(snapshots->current) : NULL;
}

void snapshots_publish(struct snapshots *snapshots, struct snapshot *snapshot) {
	mutex_lock(&snapshots->lock);
	struct snapshot *old = snapshots->current;
	snapshots->current = snapshot;
	mutex_unlock(&snapshots->lock);
	snapshot_drop(old);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * extent.c - cached mappings of snapshots, and the range locks of their reads.
 *
 * How long a cached mapping holds: SHARED until the snapshot's own private
 * chunk replaces it, PRIVATE and UNREADABLE as long as the snapshot lives,
 * ORIGIN until an origin copy in the same region of chunks is acknowledged.
 * The last is decided by stamps: each acknowledged copy puts a new number on
 * its region, and an ORIGIN extent, which never leaves one region, is valid
 * while its own number is not older.  Regions share stamps by hash, which may
 * only invalidate too much.  A snapshot's private chunks stamp as well, under a
 * hash of their own, so that an answer that crossed a private copy is not used.
 *
 * Everything here is called with volume->lock held.
 */
#include <linux/hash.h>
#include <linux/interval_tree_generic.h>
#include <linux/slab.h>

#include "ddsnap.h"

#define RANGE_START(r)	((r)->start)
#define RANGE_LAST(r)	((r)->last)

INTERVAL_TREE_DEFINE(struct ddsnap_rlock, rb, u64, subtree_last, RANGE_START,
		     RANGE_LAST, static inline, range_tree)

void ddsnap_range_lock(struct ddsnap_volume *vol, struct ddsnap_rlock *range,
		       u64 first, u64 last)
{
	lockdep_assert_held(&vol->lock);
	range->start = first;
	range->last = last;
	range->held = true;
	range_tree_insert(range, &vol->ranges);
}

void ddsnap_range_unlock(struct ddsnap_volume *vol, struct ddsnap_rlock *range)
{
	lockdep_assert_held(&vol->lock);
	if (!range->held)
		return;
	range->held = false;
	range_tree_remove(range, &vol->ranges);
	if (vol->range_waiters)
		ddsnap_kick(vol);
}

bool ddsnap_range_busy(struct ddsnap_volume *vol, u64 first, u64 last)
{
	lockdep_assert_held(&vol->lock);
	return range_tree_iter_first(&vol->ranges, first, last);
}

u64 *ddsnap_stamp_of(struct ddsnap_volume *vol, u64 epoch, u64 chunk)
{
	u64 key = (chunk >> DDSNAP_REGION_SHIFT) ^ (epoch * GOLDEN_RATIO_64);

	return &vol->stamps[hash_64(key, DDSNAP_STAMPS_SHIFT)];
}

/* Epoch 0: copies of the origin; else private chunks of that snapshot. */
void ddsnap_stamp(struct ddsnap_volume *vol, u64 epoch, u64 chunk, u32 count)
{
	u64 end = chunk + count;

	lockdep_assert_held(&vol->lock);
	vol->stamp++;
	for (chunk &= ~(u64)(DDSNAP_REGION_CHUNKS - 1); chunk < end;
	     chunk += DDSNAP_REGION_CHUNKS)
		*ddsnap_stamp_of(vol, epoch, chunk) = vol->stamp;
}

/* The extent at @chunk, or the first one behind it. */
static struct ddsnap_extent *extent_from(struct ddsnap_snapshot *snap, u64 chunk)
{
	struct rb_node *n = snap->extents.rb_node;
	struct ddsnap_extent *best = NULL;

	while (n) {
		struct ddsnap_extent *e = rb_entry(n, struct ddsnap_extent, rb);

		if (chunk >= e->chunk + e->count) {
			n = n->rb_right;
		} else {
			best = e;
			if (chunk >= e->chunk)
				break;
			n = n->rb_left;
		}
	}
	return best;
}

/* A mapping of @chunk that may be used now, or NULL. */
struct ddsnap_extent *ddsnap_extent_at(struct ddsnap_snapshot *snap, u64 chunk)
{
	struct ddsnap_extent *e = extent_from(snap, chunk);

	lockdep_assert_held(&snap->volume->lock);
	if (!e || e->chunk > chunk)
		return NULL;
	if (e->kind == DDSNAP_RUN_ORIGIN &&
	    *ddsnap_stamp_of(snap->volume, 0, chunk) > e->stamp)
		return NULL;
	return e;
}

static void extent_erase(struct ddsnap_snapshot *snap, struct ddsnap_extent *e)
{
	rb_erase(&e->rb, &snap->extents);
	snap->nr_extents--;
	kfree(e);
}

static bool extent_insert(struct ddsnap_snapshot *snap, const struct ddsnap_extent *from)
{
	struct rb_node **link = &snap->extents.rb_node, *parent = NULL;
	struct ddsnap_extent *e = kmalloc(sizeof(*e), GFP_NOWAIT | __GFP_NOWARN);

	if (!e)
		return false;
	*e = *from;
	while (*link) {
		parent = *link;
		if (e->chunk < rb_entry(parent, struct ddsnap_extent, rb)->chunk)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&e->rb, parent, link);
	rb_insert_color(&e->rb, &snap->extents);
	snap->nr_extents++;
	return true;
}

static u64 run_address(u64 address, u64 skip)
{
	return address == DDSNAP_NO_ADDRESS ? address : address + skip;
}

/* Makes room for [chunk, chunk + count), cutting what lies across its ends. */
static void extent_cut(struct ddsnap_snapshot *snap, u64 chunk, u32 count)
{
	u64 end = chunk + count;
	struct ddsnap_extent *e;

	while ((e = extent_from(snap, chunk)) && e->chunk < end) {
		struct ddsnap_extent tail = *e;
		u64 e_end = e->chunk + e->count;

		if (e->chunk < chunk)
			e->count = chunk - e->chunk;
		else
			extent_erase(snap, e);
		if (e_end > end) {
			tail.address = run_address(tail.address, end - tail.chunk);
			tail.chunk = end;
			tail.count = e_end - end;
			extent_insert(snap, &tail);
		}
	}
}

static bool extent_extend(struct ddsnap_snapshot *snap, const struct ddsnap_extent *e)
{
	struct ddsnap_extent *prev;

	if (!e->chunk || e->kind == DDSNAP_RUN_ORIGIN)
		return false;
	prev = extent_from(snap, e->chunk - 1);
	if (!prev || prev->chunk + prev->count != e->chunk || prev->kind != e->kind ||
	    run_address(prev->address, prev->count) != e->address ||
	    prev->count > U32_MAX - e->count)
		return false;
	prev->count += e->count;
	return true;
}

/*
 * Remembers @add, in place of what was known of its chunks.  Without memory
 * nothing is known of them then, which costs a MAP.
 */
void ddsnap_extent_add(struct ddsnap_snapshot *snap, const struct ddsnap_extent *add)
{
	struct ddsnap_extent part = *add;
	u64 end = add->chunk + add->count;

	lockdep_assert_held(&snap->volume->lock);
	if (snap->nr_extents >= READ_ONCE(ddsnap_extents_max))
		ddsnap_extents_drop(snap);
	extent_cut(snap, add->chunk, add->count);
	if (add->kind != DDSNAP_RUN_ORIGIN) {
		if (!extent_extend(snap, add))
			extent_insert(snap, add);
		return;
	}
	while (part.chunk < end) {
		part.count = DDSNAP_REGION_CHUNKS - (part.chunk & (DDSNAP_REGION_CHUNKS - 1));
		if (part.count > end - part.chunk)
			part.count = end - part.chunk;
		extent_insert(snap, &part);
		part.chunk += part.count;
	}
}

void ddsnap_extents_drop(struct ddsnap_snapshot *snap)
{
	struct ddsnap_extent *e, *next;

	rbtree_postorder_for_each_entry_safe(e, next, &snap->extents, rb)
		kfree(e);
	snap->extents = RB_ROOT;
	snap->nr_extents = 0;
}

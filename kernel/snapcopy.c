// SPDX-License-Identifier: GPL-2.0
/*
 * snapcopy.c - origin writes, and the copies that they wait for.
 *
 * The life of a pending (origin):
 *
 *   NEW      granted store chunks; adjacent ones are joined before they start
 *   COPYING  kcopyd at work
 *   COPIED   to be reported; reported again on every new link of that epoch
 *   REPORTED waits for ACK
 *   ACKED    the exception is durable; waits until no snapshot read of these
 *            chunks falls through to the origin, and until no barrier holds
 *   gone     the bits are set, its bios are looked at again
 *
 * An ACK that carries another epoch than the present one does not count: the
 * pending is forgotten and its bios make a new one.
 *
 * Errors.  A run that fails is done again chunk by chunk.  A chunk of the origin
 * that cannot be read, or that cannot be written to any of DDSNAP_COPY_TRIES
 * store addresses, is reported UNREADABLE: the snapshots lose this chunk, the
 * origin's write goes on.  Addresses that failed are kept back until the link
 * is made anew.
 */
#include <linux/slab.h>

#include "ddsnap.h"

#define RUN_SECTORS_MAX		2048u	/* in one copy */
#define BATCH_SECTORS_MAX	65536u	/* in one grant */

/* ---- origin writes in flight ---- */

/* The first chunk of @io that is not known to be safe by the bio itself. */
static u64 io_unsafe(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	return io->safe_generation == READ_ONCE(vol->bits.generation) ? io->safe : io->first;
}

static bool needs_no_copy(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	/* Pairs with barrier_adopted(): its epoch and bits are seen. */
	if (smp_load_acquire(&vol->hold))
		return false;
	return READ_ONCE(vol->pass) ||
	       ddsnap_bits_all(&vol->bits, io_unsafe(vol, io), io->last);
}

/*
 * May this write go to the origin now?  If so it is counted as in flight until
 * ddsnap_origin_write_ends().  Any context; lockless.
 *
 * The count comes first, then a full barrier, then the look at `hold`: whoever
 * sets `hold` and then finds all counters zero knows that no write of before is
 * on its way.  The counter's address is kept so that the decrement hits the
 * same one: none is ever negative, so each may be read by itself.
 */
bool ddsnap_origin_write_starts(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	io->counter = raw_cpu_ptr(vol->inflight);
	atomic_inc(io->counter);
	smp_mb__after_atomic(); /* pairs with barrier_hold() */
	if (needs_no_copy(vol, io))
		return true;
	ddsnap_origin_write_ends(vol, io);
	return false;
}

void ddsnap_origin_write_ends(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	atomic_dec(io->counter);
	io->counter = NULL;
	smp_mb__after_atomic(); /* pairs with barrier_hold() */
	if (READ_ONCE(vol->hold))
		ddsnap_kick(vol);
}

long ddsnap_origin_writes(struct ddsnap_volume *vol)
{
	long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += atomic_read(per_cpu_ptr(vol->inflight, cpu));
	return sum;
}

/* ---- grants ---- */

/* Unused chunks; also those that a private copy did not need after all. */
void ddsnap_grant_add(struct ddsnap_volume *vol, u64 address, u64 count)
{
	struct ddsnap_grant *g;

	if (!list_empty(&vol->grants)) {
		g = list_last_entry(&vol->grants, struct ddsnap_grant, list);
		if (g->address + g->count == address) {
			g->count += count;
			vol->granted += count;
			return;
		}
	}
	g = kmalloc(sizeof(*g), GFP_NOIO);
	if (!g)
		return;	/* the next HELLO gives them back */
	g->address = address;
	g->count = count;
	list_add_tail(&g->list, &vol->grants);
	vol->granted += count;
}

void ddsnap_grants_drop(struct ddsnap_volume *vol)
{
	struct ddsnap_grant *g, *next;

	list_for_each_entry_safe(g, next, &vol->grants, list) {
		list_del(&g->list);
		kfree(g);
	}
	vol->granted = 0;
	vol->grant_asked = false;
	vol->grant_used = false;
}

/* Takes up to *count contiguous chunks. */
bool ddsnap_grant_take(struct ddsnap_volume *vol, u64 *address, u32 *count)
{
	struct ddsnap_grant *g;

	vol->grant_used = true;
	if (list_empty(&vol->grants))
		return false;
	g = list_first_entry(&vol->grants, struct ddsnap_grant, list);
	*count = min_t(u64, *count, g->count);
	*address = g->address;
	g->address += *count;
	g->count -= *count;
	vol->granted -= *count;
	if (!g->count) {
		list_del(&g->list);
		kfree(g);
	}
	return true;
}

/* Is it time to ask?  Asks for more each time that bios had to wait. */
bool ddsnap_grants_wanted(struct ddsnap_volume *vol)
{
	if (vol->grant_asked || vol->stopping)
		return false;
	if (!list_empty(&vol->grant_ios)) {
		if (vol->granted)
			return false;	/* they are about to be looked at */
		if (vol->grant_batch < BATCH_SECTORS_MAX >> vol->chunk_shift)
			vol->grant_batch *= 2;
		return true;
	}
	return vol->grant_used && vol->granted < vol->grant_batch / 2;
}

void ddsnap_grants_denied(struct ddsnap_volume *vol)
{
	struct ddsnap_io *io, *next;
	LIST_HEAD(ios);

	vol->grant_asked = false;
	vol->grant_used = false;
	if (list_empty(&vol->grant_ios))
		return;
	vol->count.denied++;
	DMERR_LIMIT("%pU: the snapshot store is full and no snapshot may be given up: writes fail",
		    &vol->uuid);
	list_splice_init(&vol->grant_ios, &ios);
	list_for_each_entry_safe(io, next, &ios, list) {
		list_del_init(&io->list);
		ddsnap_io_end(io, BLK_STS_NOSPC);
	}
	mutex_lock(&vol->mutex);
	ddsnap_event(vol, NULL);
	mutex_unlock(&vol->mutex);
}

/* ---- pendings ---- */

/* The one that covers @chunk, or the first one behind it. */
static struct ddsnap_pending *pending_from(struct rb_root *root, u64 chunk)
{
	struct rb_node *n = root->rb_node;
	struct ddsnap_pending *best = NULL;

	while (n) {
		struct ddsnap_pending *p = rb_entry(n, struct ddsnap_pending, rb);

		if (chunk >= p->chunk + p->count) {
			n = n->rb_right;
		} else {
			best = p;
			if (chunk >= p->chunk)
				break;
			n = n->rb_left;
		}
	}
	return best;
}

struct ddsnap_pending *ddsnap_pending_at(struct rb_root *root, u64 chunk)
{
	struct ddsnap_pending *p = pending_from(root, chunk);

	return p && p->chunk <= chunk ? p : NULL;
}

static void pending_insert(struct rb_root *root, struct ddsnap_pending *p)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		if (p->chunk < rb_entry(parent, struct ddsnap_pending, rb)->chunk)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&p->rb, parent, link);
	rb_insert_color(&p->rb, root);
}

/* Lengthens the newest pending if chunk and address go on where it ends. */
static struct ddsnap_pending *pending_extend(struct ddsnap_volume *vol, u64 chunk, u32 count)
{
	u32 room = max(1u, RUN_SECTORS_MAX >> vol->chunk_shift);
	struct ddsnap_pending *p;
	struct ddsnap_grant *g;
	u64 address;

	if (vol->careful || list_empty(&vol->fresh) || list_empty(&vol->grants))
		return NULL;
	p = list_last_entry(&vol->fresh, struct ddsnap_pending, list);
	g = list_first_entry(&vol->grants, struct ddsnap_grant, list);
	if (p->snapshot || p->count >= room || p->chunk + p->count != chunk ||
	    p->address + p->count != g->address)
		return NULL;
	count = min(count, room - p->count);
	if (!ddsnap_grant_take(vol, &address, &count))
		return NULL;
	p->count += count;
	return p;
}

/*
 * Makes a pending that begins at @chunk and covers up to @count chunks, of
 * which none may be in a pending.  Without address or memory the answer is NULL
 * and *@wait the list on which a bio waits for it.
 */
struct ddsnap_pending *ddsnap_pending_new(struct ddsnap_volume *vol,
					  struct ddsnap_snapshot *snap, u64 chunk,
					  u32 count, struct list_head **wait)
{
	struct ddsnap_pending *p = snap ? NULL : pending_extend(vol, chunk, count);
	u64 address;

	if (p)
		return p;
	count = min(count, max(1u, RUN_SECTORS_MAX >> vol->chunk_shift));
	if (vol->careful) {
		vol->careful--;
		count = 1;
	}
	/* Must not sleep: the pool is refilled by this very worker. */
	p = mempool_alloc(&vol->pending_pool, GFP_NOWAIT | __GFP_NOWARN);
	if (!p) {
		*wait = &vol->mem_ios;
		return NULL;
	}
	if (!ddsnap_grant_take(vol, &address, &count)) {
		mempool_free(p, &vol->pending_pool);
		*wait = &vol->grant_ios;
		return NULL;
	}
	memset(p, 0, sizeof(*p));
	INIT_LIST_HEAD(&p->ios);
	p->volume = vol;
	p->snapshot = snap;
	p->chunk = chunk;
	p->count = count;
	p->address = address;
	p->state = PENDING_NEW;
	list_add_tail(&p->list, &vol->fresh);
	if (snap)
		atomic_inc(&snap->inflight);
	else
		vol->origin_copies++;
	pending_insert(snap ? &snap->pendings : &vol->pendings, p);
	return p;
}

/* Forgets @p; its bios are looked at again. */
void ddsnap_pending_free(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;

	list_del(&p->list);
	ddsnap_io_later(vol, &p->ios);
	if (!list_empty(&vol->mem_ios))
		ddsnap_io_later(vol, &vol->mem_ios);
	if (p->range.held) {
		spin_lock_irq(&vol->lock);
		ddsnap_range_unlock(vol, &p->range);
		spin_unlock_irq(&vol->lock);
	}
	rb_erase(&p->rb, p->snapshot ? &p->snapshot->pendings : &vol->pendings);
	mempool_free(p, &vol->pending_pool);
}

/* ---- copies ---- */

static void kcopyd_ended(int read_err, unsigned long write_err, void *context)
{
	ddsnap_copy_ended(context, read_err, write_err);
}

/* Any context.  The worker goes on with @p. */
void ddsnap_copy_ended(struct ddsnap_pending *p, int read_err, unsigned long write_err)
{
	struct ddsnap_volume *vol = p->volume;
	unsigned long flags;

	p->read_err = read_err;
	p->write_err = write_err;
	spin_lock_irqsave(&vol->lock, flags);
	list_add_tail(&p->list, &vol->done);
	/* Under the lock: once the worker has seen @p the volume may end. */
	ddsnap_kick(vol);
	spin_unlock_irqrestore(&vol->lock, flags);
}

/*
 * The size is that of now, not of the last HELLO: an origin is cut after its
 * tables and the server have become smaller.  A last chunk is read as far as it
 * goes; a run with chunks that are gone fails, and is done again one by one.
 */
static void copy_start(struct ddsnap_volume *vol, struct ddsnap_pending *p)
{
	struct dm_io_region from, to;
	u64 sectors = (u64)p->count << vol->chunk_shift;
	sector_t size;

	if (!p->snapshot) {
		p->from_bdev = vol->origin;
		p->from = ddsnap_sector(vol, p->chunk);
	}
	size = bdev_nr_sectors(p->from_bdev);
	if (p->from + ((u64)(p->count - 1) << vol->chunk_shift) >= size) {
		ddsnap_copy_ended(p, -EIO, 0);
		return;
	}
	if (p->from_bdev == vol->origin)
		sectors = min_t(u64, sectors, size - p->from);
	from.bdev = p->from_bdev;
	from.sector = p->from;
	from.count = sectors;
	to.bdev = vol->store;
	to.sector = ddsnap_sector(vol, p->address);
	to.count = sectors;
	dm_kcopyd_copy(vol->kcopyd, &from, 1, &to, 0, kcopyd_ended, p);
}

void ddsnap_copies_start(struct ddsnap_volume *vol)
{
	struct ddsnap_pending *p, *next;

	if (READ_ONCE(vol->stopping))
		return;
	list_for_each_entry_safe(p, next, &vol->fresh, list) {
		list_del_init(&p->list);
		if (p->snapshot && !p->overwrite && !p->from_bdev) {
			/* Its bio ended in the meantime, and the data went with it. */
			ddsnap_private_forget(p);
			continue;
		}
		p->state = PENDING_COPYING;
		vol->copies++;
		if (p->overwrite)
			ddsnap_overwrite_start(p);
		else
			copy_start(vol, p);
	}
}

void ddsnap_pending_copied(struct ddsnap_pending *p)
{
	p->state = PENDING_COPIED;
	list_add_tail(&p->list, &p->volume->copied);
	if (!p->snapshot)
		p->volume->origin_copies--;
}

/* Its copy has failed; its bios begin again. */
static void copy_forget(struct ddsnap_pending *p)
{
	p->volume->origin_copies--;
	ddsnap_pending_free(p);
}

static void copy_failed(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;
	u32 one = 1;

	if (p->read_err)
		vol->count.read_errors++;
	else
		vol->count.write_errors++;
	DMERR_LIMIT("%pU: copying chunks %llu+%u: cannot %s", &vol->uuid, p->chunk, p->count,
		    p->read_err ? "read the origin" : "write the snapshot store");

	INIT_LIST_HEAD(&p->list);
	if (p->count > 1) {
		vol->careful = 2 * p->count;
		if (p->read_err)
			ddsnap_grant_add(vol, p->address, p->count);
		copy_forget(p);
	} else if (p->read_err || ++p->tries >= DDSNAP_COPY_TRIES) {
		p->flags = DDSNAP_REPORT_UNREADABLE;
		ddsnap_pending_copied(p);
	} else if (ddsnap_grant_take(vol, &p->address, &one)) {
		p->state = PENDING_NEW;
		list_add_tail(&p->list, &vol->fresh);
	} else {
		copy_forget(p);
	}
}

void ddsnap_copies_done(struct ddsnap_volume *vol)
{
	struct ddsnap_pending *p, *next;
	LIST_HEAD(done);

	spin_lock_irq(&vol->lock);
	list_splice_init(&vol->done, &done);
	spin_unlock_irq(&vol->lock);
	list_for_each_entry_safe(p, next, &done, list) {
		list_del_init(&p->list);
		vol->copies--;
		if (p->snapshot)
			ddsnap_private_copied(p);
		else if (p->read_err || p->write_err)
			copy_failed(p);
		else
			ddsnap_pending_copied(p);
	}
}

/* ---- acknowledged ---- */

/* The server has made @p durable under @epoch. */
void ddsnap_acked(struct ddsnap_pending *p, u64 epoch)
{
	struct ddsnap_volume *vol = p->volume;

	p->ack_epoch = epoch;
	p->state = PENDING_ACKED;
	spin_lock_irq(&vol->lock);
	ddsnap_stamp(vol, p->snapshot ? p->snapshot->epoch : 0, p->chunk, p->count);
	spin_unlock_irq(&vol->lock);
	if (p->snapshot)
		ddsnap_private_acked(p);
	else
		list_move_tail(&p->list, &vol->acked);
}

/*
 * The bios that wait for @p wait for it as the first that they need.  They
 * remember that themselves, because a bit may be lost for want of memory.
 */
static void pending_release(struct ddsnap_volume *vol, struct ddsnap_pending *p)
{
	struct ddsnap_io *io;
	u32 i;

	for (i = 0; i < p->count; i++)
		ddsnap_bits_set(&vol->bits, p->chunk + i);
	list_for_each_entry(io, &p->ios, list) {
		io->safe = p->chunk + p->count;
		io->safe_generation = vol->bits.generation;
	}
	vol->count.copied += p->count;
}

void ddsnap_release_acked(struct ddsnap_volume *vol)
{
	struct ddsnap_pending *p, *next;
	bool busy;

	if (vol->hold || list_empty(&vol->acked))
		return;
	spin_lock_irq(&vol->lock);
	vol->range_waiters = false;
	spin_unlock_irq(&vol->lock);

	list_for_each_entry_safe(p, next, &vol->acked, list) {
		if (p->ack_epoch == vol->epoch) {
			spin_lock_irq(&vol->lock);
			busy = ddsnap_range_busy(vol, p->chunk, p->chunk + p->count - 1);
			vol->range_waiters |= busy;
			spin_unlock_irq(&vol->lock);
			if (busy)
				continue;
			pending_release(vol, p);
		}
		ddsnap_pending_free(p);
	}
}

/* ---- origin writes that had to wait ---- */

/* How many chunks from @chunk on are neither copied nor being copied. */
static u32 bare_run(struct ddsnap_volume *vol, u64 chunk, u64 end)
{
	struct ddsnap_pending *p = pending_from(&vol->pendings, chunk);
	u64 at = chunk;

	if (p && p->chunk < end)
		end = p->chunk;
	while (at < end && !ddsnap_bits_test(&vol->bits, at))
		at++;
	return at - chunk;
}

/*
 * Lets the write go, or starts the copies that it needs and has it wait for one
 * of them.
 */
void ddsnap_origin_write(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	struct ddsnap_pending *p, *wait = NULL;
	struct list_head *list = &vol->retry_ios;
	u64 chunk;

	if (vol->hold) {
		list_add_tail(&io->list, &vol->held_ios);
		return;
	}
	if (ddsnap_origin_write_starts(vol, io)) {
		ddsnap_io_submit(io, vol->origin, ddsnap_io_bio(io)->bi_iter.bi_sector);
		return;
	}
	for (chunk = io_unsafe(vol, io); chunk <= io->last;) {
		if (ddsnap_bits_test(&vol->bits, chunk)) {
			chunk++;
			continue;
		}
		p = ddsnap_pending_at(&vol->pendings, chunk);
		if (!p)
			p = ddsnap_pending_new(vol, NULL, chunk,
					       bare_run(vol, chunk, io->last + 1), &list);
		if (!p)
			break;
		if (!wait)
			wait = p;
		chunk = p->chunk + p->count;
	}
	list_add_tail(&io->list, wait ? &wait->ios : list);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * snapread.c - I/O of snapshots.
 *
 * map() serves what the cached mappings know.  Anything else goes to the worker
 * as a bio within one chunk, which asks the server (MAP) and serves the bio from
 * the answer.
 *
 * A read that falls through to the origin holds the range lock of its chunks
 * from before its MAP was sent, or from a look at a valid cached mapping, until
 * it has completed.  An origin write of these chunks is released only after the
 * range is free.  When the copy of a chunk is acknowledged already, a read does
 * not take the lock, or readers could keep the write waiting for ever: it asks
 * again, and the answer is no longer the origin.
 *
 * A write to a chunk that is not the snapshot's own makes a private chunk: the
 * old content is copied to a granted store chunk, reported, and after its ACK
 * the write goes there.  A write of a whole chunk is written there itself, and
 * completes with the ACK.
 */
#include <linux/slab.h>

#include "ddsnap.h"

static bool io_is_write(struct ddsnap_io *io)
{
	return op_is_write(bio_op(ddsnap_io_bio(io)));
}

static void io_unlock(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	spin_lock_irq(&vol->lock);
	ddsnap_range_unlock(vol, &io->range);
	spin_unlock_irq(&vol->lock);
}

/* Can map() serve this bio from @e without the worker? */
static bool extent_serves(const struct ddsnap_extent *e, bool write)
{
	return e && (!write || e->kind == DDSNAP_RUN_PRIVATE);
}

static sector_t extent_sector(struct ddsnap_volume *vol, const struct ddsnap_extent *e,
			      sector_t sector)
{
	return ddsnap_sector(vol, e->address) + (sector - ddsnap_sector(vol, e->chunk));
}

/* A bio with data.  The sector of @bio counts from the start of the snapshot. */
int ddsnap_snap_map(struct ddsnap_target *t, struct ddsnap_io *io, struct bio *bio)
{
	struct ddsnap_volume *vol = t->volume;
	struct ddsnap_snapshot *snap = t->snapshot;
	sector_t sector = bio->bi_iter.bi_sector, end;
	struct ddsnap_extent *e;
	int r = DM_MAPIO_REMAPPED;
	unsigned long flags;
	bool served;

	io->first = sector >> vol->chunk_shift;
	spin_lock_irqsave(&vol->lock, flags);
	if (snap->dropped) {
		r = DM_MAPIO_KILL;
		goto out;
	}
	e = ddsnap_extent_at(snap, io->first);
	served = extent_serves(e, op_is_write(bio_op(bio)));
	end = ddsnap_sector(vol, served ? e->chunk + e->count : io->first + 1);
	if (bio_end_sector(bio) > end)
		dm_accept_partial_bio(bio, end - sector);
	io->last = (bio_end_sector(bio) - 1) >> vol->chunk_shift;
	if (!served) {
		r = DM_MAPIO_SUBMITTED;
		/* Here, as whoever submits it: later changes of device keep its cgroup. */
		bio_set_dev(bio, vol->store);
		list_add_tail(&io->list, &vol->incoming);
		list_add_tail(&io->held, &t->held);
		io->is_held = true;
		vol->nr_held++;
		goto out;
	}
	if (e->kind == DDSNAP_RUN_UNREADABLE) {
		r = DM_MAPIO_KILL;
		goto out;
	}
	if (e->kind == DDSNAP_RUN_ORIGIN) {
		ddsnap_range_lock(vol, &io->range, io->first, io->last);
		bio_set_dev(bio, vol->origin);
	} else {
		bio_set_dev(bio, vol->store);
		bio->bi_iter.bi_sector = extent_sector(vol, e, sector);
	}
	io->counted = true;
	atomic_inc(&snap->inflight);
out:
	spin_unlock_irqrestore(&vol->lock, flags);
	if (r == DM_MAPIO_SUBMITTED)
		ddsnap_kick(vol);
	return r;
}

/* ---- private chunks ---- */

static bool io_covers_chunk(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	struct bio *bio = ddsnap_io_bio(io);

	return bio->bi_iter.bi_sector == ddsnap_sector(vol, io->first) &&
	       bio_sectors(bio) == 1u << vol->chunk_shift;
}

static void private_make(struct ddsnap_volume *vol, struct ddsnap_io *io,
			 const struct ddsnap_extent *e)
{
	struct ddsnap_snapshot *snap = io->target->snapshot;
	bool whole = io_covers_chunk(vol, io);
	struct ddsnap_pending *p;
	struct list_head *wait;

	if (e->kind == DDSNAP_RUN_UNREADABLE && !whole) {
		ddsnap_io_end(io, BLK_STS_IOERR);
		return;
	}
	p = ddsnap_pending_new(vol, snap, io->first, 1, &wait);
	if (!p) {
		io_unlock(vol, io);
		list_add_tail(&io->list, wait);
		return;
	}
	if (whole) {
		p->overwrite = io;
		io->overwrites = p;
		io_unlock(vol, io);
		return;
	}
	if (e->kind == DDSNAP_RUN_ORIGIN) {
		p->from_bdev = vol->origin;
		p->from = ddsnap_sector(vol, io->first);
		spin_lock_irq(&vol->lock);
		ddsnap_range_lock(vol, &p->range, io->first, io->first);
		ddsnap_range_unlock(vol, &io->range);
		spin_unlock_irq(&vol->lock);
	} else {
		p->from_bdev = vol->store;
		p->from = extent_sector(vol, e, ddsnap_sector(vol, io->first));
		io_unlock(vol, io);
	}
	list_add_tail(&io->list, &p->ios);
}

static void overwrite_ended(struct bio *clone)
{
	struct ddsnap_pending *p = clone->bi_private;
	bool failed = clone->bi_status;

	bio_put(clone);
	ddsnap_copy_ended(p, 0, failed);
}

/* Writes the bio's data to the granted chunk, as the chunk's content. */
void ddsnap_overwrite_start(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;
	struct ddsnap_io *io = p->overwrite;
	struct bio *clone = compat_bio_clone(vol->store, ddsnap_io_bio(io), &vol->bios);

	io->busy = true;
	compat_bio_may_wait(clone);
	clone->bi_iter.bi_sector = ddsnap_sector(vol, p->address);
	clone->bi_private = p;
	clone->bi_end_io = overwrite_ended;
	submit_bio_noacct(clone);
}

/* A private chunk that nobody writes any more. */
void ddsnap_private_forget(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;

	atomic_dec(&p->snapshot->inflight);
	ddsnap_grant_add(vol, p->address, 1);
	ddsnap_pending_free(p);
	ddsnap_kick(vol);
}

static void private_fail(struct ddsnap_pending *p)
{
	struct ddsnap_io *io, *next;
	LIST_HEAD(ios);

	list_splice_init(&p->ios, &ios);
	list_for_each_entry_safe(io, next, &ios, list) {
		list_del_init(&io->list);
		ddsnap_io_end(io, BLK_STS_IOERR);
	}
	if (p->overwrite)
		ddsnap_io_end(p->overwrite, BLK_STS_IOERR);
	if (!p->write_err)
		ddsnap_grant_add(p->volume, p->address, 1);
	ddsnap_pending_free(p);
}

static void private_copy_failed(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;
	u32 one = 1;

	DMERR_LIMIT("%pU: chunk %llu of the snapshot of epoch %llu: cannot %s", &vol->uuid,
		    p->chunk, p->snapshot->epoch,
		    p->read_err ? "read its old content" : "write the snapshot store");
	if (p->read_err) {
		vol->count.read_errors++;
		p->write_err = 0;
		private_fail(p);
		return;
	}
	vol->count.write_errors++;
	if (++p->tries < DDSNAP_COPY_TRIES && ddsnap_grant_take(vol, &p->address, &one)) {
		p->state = PENDING_NEW;
		atomic_inc(&p->snapshot->inflight);
		list_add_tail(&p->list, &vol->fresh);
		return;
	}
	private_fail(p);
}

/* kcopyd or the clone of a whole-chunk write has come to its end. */
void ddsnap_private_copied(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;

	atomic_dec(&p->snapshot->inflight);
	if (p->overwrite)
		p->overwrite->busy = false;
	if (p->snapshot->dropped) {
		private_fail(p);
		return;
	}
	if (p->read_err || p->write_err) {
		private_copy_failed(p);
		return;
	}
	spin_lock_irq(&vol->lock);
	ddsnap_range_unlock(vol, &p->range);
	spin_unlock_irq(&vol->lock);
	ddsnap_pending_copied(p);
}

void ddsnap_private_acked(struct ddsnap_pending *p)
{
	struct ddsnap_volume *vol = p->volume;
	struct ddsnap_extent e = {
		.chunk = p->chunk,
		.address = p->address,
		.count = 1,
		.kind = DDSNAP_RUN_PRIVATE,
	};

	spin_lock_irq(&vol->lock);
	if (!p->snapshot->dropped)
		ddsnap_extent_add(p->snapshot, &e);
	spin_unlock_irq(&vol->lock);
	vol->count.privates++;
	if (p->overwrite)
		ddsnap_io_end(p->overwrite, BLK_STS_OK);
	ddsnap_pending_free(p);
}

/* ---- serving a bio from a mapping ---- */

/* @e covers the bio's chunk; the range lock is held if it is ORIGIN. */
static void snap_serve(struct ddsnap_volume *vol, struct ddsnap_io *io,
		       const struct ddsnap_extent *e)
{
	struct ddsnap_snapshot *snap = io->target->snapshot;
	sector_t sector = ddsnap_io_bio(io)->bi_iter.bi_sector;

	if (e->kind == DDSNAP_RUN_ORIGIN && io->first >= vol->origin_chunks) {
		ddsnap_io_end(io, BLK_STS_IOERR);
		return;
	}
	if (io_is_write(io) && e->kind != DDSNAP_RUN_PRIVATE) {
		private_make(vol, io, e);
		return;
	}
	if (e->kind == DDSNAP_RUN_UNREADABLE) {
		ddsnap_io_end(io, BLK_STS_IOERR);
		return;
	}
	io->counted = true;
	atomic_inc(&snap->inflight);
	if (e->kind == DDSNAP_RUN_ORIGIN) {
		ddsnap_io_submit(io, vol->origin, sector);
	} else {
		io_unlock(vol, io);
		ddsnap_io_submit(io, vol->store, extent_sector(vol, e, sector));
	}
}

/* A write of a chunk that is becoming private waits for that. */
static bool snap_joins_pending(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	struct ddsnap_pending *p;

	if (!io_is_write(io))
		return false;
	p = ddsnap_pending_at(&io->target->snapshot->pendings, io->first);
	if (!p)
		return false;
	io_unlock(vol, io);
	list_add_tail(&io->list, &p->ios);
	return true;
}

/* ---- asking the server ---- */

static struct ddsnap_mapreq *mapreq_find(struct ddsnap_snapshot *snap, u64 chunk)
{
	struct ddsnap_mapreq *req;

	list_for_each_entry(req, &snap->maps, list)
		if (chunk >= req->chunk && chunk < req->chunk + req->count)
			return req;
	return NULL;
}

void ddsnap_mapreq_free(struct ddsnap_volume *vol, struct ddsnap_mapreq *req)
{
	list_del(&req->list);
	list_del(&req->queue);
	ddsnap_io_later(vol, &req->ios);
	ddsnap_io_later(vol, &req->late);
	ddsnap_io_later(vol, &vol->mem_ios);
	mempool_free(req, &vol->mapreq_pool);
}

/* Asks for more and more while the reads go on where the last answer ended. */
static u32 mapreq_count(struct ddsnap_snapshot *snap, u64 chunk)
{
	u64 count;

	if (chunk == snap->next_chunk)
		snap->window = min(snap->window * 2, (u32)DDSNAP_MAP_MAX);
	else
		snap->window = 16;
	count = chunk < snap->chunks ? snap->chunks - chunk : 1;
	count = min_t(u64, count, snap->window);
	snap->next_chunk = chunk + count;
	return count;
}

static struct ddsnap_mapreq *mapreq_new(struct ddsnap_snapshot *snap, u64 chunk)
{
	struct ddsnap_volume *vol = snap->volume;
	struct ddsnap_mapreq *req;

	/* Must not sleep: the pool is refilled by this very worker. */
	req = mempool_alloc(&vol->mapreq_pool, GFP_NOWAIT | __GFP_NOWARN);
	if (!req)
		return NULL;
	memset(req, 0, sizeof(*req));
	INIT_LIST_HEAD(&req->ios);
	INIT_LIST_HEAD(&req->late);
	req->snapshot = snap;
	req->id = ++vol->next_map_id;
	req->chunk = chunk;
	req->count = mapreq_count(snap, chunk);
	spin_lock_irq(&vol->lock);
	req->stamp = vol->stamp;
	spin_unlock_irq(&vol->lock);
	list_add_tail(&req->list, &snap->maps);
	list_add_tail(&req->queue, &vol->maps_unsent);
	return req;
}

static void ask_map(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	struct ddsnap_snapshot *snap = io->target->snapshot;
	struct ddsnap_pending *p = ddsnap_pending_at(&vol->pendings, io->first);
	struct ddsnap_mapreq *req = mapreq_find(snap, io->first);
	bool may_lock = !p || p->state != PENDING_ACKED;

	if (req && (req->sent || !may_lock)) {
		io_unlock(vol, io);
		list_add_tail(&io->list, &req->late);
		return;
	}
	spin_lock_irq(&vol->lock);
	if (may_lock && !io->range.held)
		ddsnap_range_lock(vol, &io->range, io->first, io->last);
	else if (!may_lock)
		ddsnap_range_unlock(vol, &io->range);
	spin_unlock_irq(&vol->lock);
	if (!req)
		req = mapreq_new(snap, io->first);
	if (!req) {
		io_unlock(vol, io);
		list_add_tail(&io->list, &vol->mem_ios);
		return;
	}
	list_add_tail(&io->list, may_lock ? &req->ios : &req->late);
}

/* Looks at a bio within one chunk from scratch. */
void ddsnap_snap_io(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	struct ddsnap_snapshot *snap = io->target->snapshot;
	struct ddsnap_extent found, *e;

	if (snap->dropped) {
		ddsnap_io_end(io, BLK_STS_IOERR);
		return;
	}
	if (snap_joins_pending(vol, io))
		return;
	spin_lock_irq(&vol->lock);
	e = ddsnap_extent_at(snap, io->first);
	if (e) {
		found = *e;
		if (e->kind == DDSNAP_RUN_ORIGIN && !io->range.held)
			ddsnap_range_lock(vol, &io->range, io->first, io->last);
	}
	spin_unlock_irq(&vol->lock);
	if (e)
		snap_serve(vol, io, &found);
	else
		ask_map(vol, io);
}

/* ---- the answer ---- */

/* Has a private chunk of this region become known since MAP was made? */
static bool crossed_private(struct ddsnap_mapreq *req, u64 chunk)
{
	struct ddsnap_volume *vol = req->snapshot->volume;

	return *ddsnap_stamp_of(vol, req->snapshot->epoch, chunk) > req->stamp;
}

static bool run_cacheable(struct ddsnap_mapreq *req, const struct ddsnap_extent *e)
{
	u64 chunk;

	/* Until its ACK a private chunk may not be written to. */
	for (chunk = e->chunk; chunk < e->chunk + e->count; chunk++)
		if (crossed_private(req, chunk) ||
		    ddsnap_pending_at(&req->snapshot->pendings, chunk))
			return false;
	return true;
}

/*
 * Serves the bios of @req that the run @e covers.  They held the range lock when
 * MAP was sent, so that ORIGIN is still true for them.
 */
static void serve_run(struct ddsnap_mapreq *req, const struct ddsnap_extent *e)
{
	struct ddsnap_volume *vol = req->snapshot->volume;
	struct ddsnap_io *io, *next;

	list_for_each_entry_safe(io, next, &req->ios, list) {
		if (io->first < e->chunk || io->first >= e->chunk + e->count)
			continue;
		list_del_init(&io->list);
		if (crossed_private(req, io->first))
			list_add_tail(&io->list, &vol->retry_ios);
		else if (!snap_joins_pending(vol, io))
			snap_serve(vol, io, e);
	}
}

/* @runs are valid and lie within what was asked for. */
void ddsnap_snap_mapped(struct ddsnap_mapreq *req, const struct ddsnap_run *runs,
			unsigned int nr)
{
	struct ddsnap_snapshot *snap = req->snapshot;
	struct ddsnap_volume *vol = snap->volume;
	struct ddsnap_extent e = { .chunk = req->chunk, .stamp = req->stamp };

	vol->count.maps++;
	/* Of a dropped snapshot nothing is served; the bios fail. */
	for (; nr && !snap->dropped; nr--, runs++) {
		e.kind = le32_to_cpu(runs->kind);
		e.count = le32_to_cpu(runs->count);
		e.address = DDSNAP_NO_ADDRESS;
		if (e.kind == DDSNAP_RUN_SHARED || e.kind == DDSNAP_RUN_PRIVATE)
			e.address = le64_to_cpu(runs->address);
		if (run_cacheable(req, &e)) {
			spin_lock_irq(&vol->lock);
			ddsnap_extent_add(snap, &e);
			spin_unlock_irq(&vol->lock);
		}
		serve_run(req, &e);
		e.chunk += e.count;
	}
	ddsnap_mapreq_free(vol, req);
}

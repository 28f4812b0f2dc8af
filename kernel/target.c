// SPDX-License-Identifier: GPL-2.0
/*
 * target.c - what device-mapper calls.
 *
 * What requests mean
 * ------------------
 *              origin                         snapshot
 * read         passed on                      mapped, see snapread.c
 * write, FUA   after the copies it needs      to the snapshot's own chunk; FUA
 *                                             is kept
 * flush        to the origin                  to the store
 * write zeroes as a write; at most 4 MiB or   not offered: the block layer
 *              a chunk at once                writes zeroes instead
 * discard      a hint that never causes a     not offered
 *              copy: passed on if no chunk
 *              that it touches needs one,
 *              else done without effect
 * secure erase not offered                    not offered
 *
 * A request that must not wait (REQ_NOWAIT) is served like any other, because
 * map() never sleeps: what needs the server is queued.  The worker, which may
 * sleep, passes it on without the flag.  One whose completion its owner polls
 * for (REQ_POLLED) completes by interrupt when the worker passes it on.
 *
 * Suspend.  A plain suspend waits for the I/O that waits for the server.  With
 * noflush that I/O is given back and comes again after resume.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "ddsnap.h"

#define ZEROES_MAX_SECTORS	8192u

/* ---- constructor ---- */

static int ctr_tag(struct dm_target *ti, const char *arg, u32 *tag)
{
	if (!strcmp(arg, "-1")) {
		*tag = DDSNAP_TAG_ORIGIN;
		return 0;
	}
	if (kstrtou32(arg, 10, tag) || *tag == DDSNAP_TAG_ORIGIN) {
		ti->error = "Invalid tag";
		return -EINVAL;
	}
	return 0;
}

static int ctr_devices(struct dm_target *ti, struct ddsnap_target *t, char **argv)
{
	int r;

	r = dm_get_device(ti, argv[0], dm_table_get_mode(ti->table), &t->store);
	if (r) {
		ti->error = "Cannot open the snapshot store";
		return r;
	}
	r = dm_get_device(ti, argv[1], dm_table_get_mode(ti->table), &t->origin);
	if (r) {
		ti->error = "Cannot open the origin";
		return r;
	}
	if (t->store->bdev == t->origin->bdev) {
		ti->error = "Origin and snapshot store are the same device";
		return -EINVAL;
	}
	return 0;
}

static int ctr_check(struct dm_target *ti, struct ddsnap_target *t,
		     const struct ddsnap_identified *id)
{
	u32 shift = le32_to_cpu(id->chunk_shift);
	u64 sectors = le64_to_cpu(id->sectors);
	bool origin = t->tag == DDSNAP_TAG_ORIGIN;

	ti->error = "The server's answer makes no sense";
	if (shift < DDSNAP_MIN_CHUNK_SHIFT || shift > DDSNAP_MAX_CHUNK_SHIFT ||
	    origin == !!id->epoch || !sectors || sectors >> 54)
		return -EPROTO;
	ti->error = "Length is not the size that the server knows";
	if (origin ? ti->len > sectors : ti->len != sectors)
		return -EINVAL;
	ti->error = "Length is greater than the origin device";
	if (origin && ti->len > bdev_nr_sectors(t->origin->bdev))
		return -EINVAL;
	ti->error = NULL;
	return 0;
}

static int ctr_identify(struct dm_target *ti, struct ddsnap_target *t,
			struct ddsnap_identified *id)
{
	struct ddsnap_identify ask = {
		.sectors = cpu_to_le64(ti->len),
		.tag = cpu_to_le32(t->tag),
	};
	int r;

	ddsnap_dev_pack(&ask.store, t->store->bdev->bd_dev);
	ddsnap_dev_pack(&ask.origin, t->origin->bdev->bd_dev);
	r = ddsnap_agent_identify(ti, t->agent_path, &ask, id);
	return r ?: ctr_check(ti, t, id);
}

static void target_free(struct dm_target *ti, struct ddsnap_target *t)
{
	if (t->origin)
		dm_put_device(ti, t->origin);
	if (t->store)
		dm_put_device(ti, t->store);
	kfree(t->agent_path);
	kfree(t);
}

/*
 * START LENGTH ddsnap STORE ORIGIN AGENT_SOCKET TAG
 *
 *   STORE, ORIGIN  block devices
 *   AGENT_SOCKET   Unix socket of the agent; one that begins with '@' is
 *                  abstract
 *   TAG            -1 for the origin, else a snapshot's tag
 *
 * LENGTH is the size of the snapshot in sectors; that of the origin may also be
 * smaller, and the target is then its beginning.  A device that has grown, or is
 * about to become smaller, gets a new table; making one looks at the sizes anew.
 */
static int ddsnap_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct ddsnap_identified id;
	struct ddsnap_target *t;
	int r;

	if (argc != 4) {
		ti->error = "Needs STORE ORIGIN AGENT_SOCKET TAG";
		return -EINVAL;
	}
	t = kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	t->ti = ti;
	INIT_LIST_HEAD(&t->held);
	r = ctr_tag(ti, argv[3], &t->tag);
	if (r)
		goto bad;
	t->agent_path = kstrdup(argv[2], GFP_KERNEL);
	if (!t->agent_path) {
		ti->error = "Out of memory";
		r = -ENOMEM;
		goto bad;
	}
	r = ctr_devices(ti, t, argv);
	if (r)
		goto bad;
	r = ctr_identify(ti, t, &id);
	if (r)
		goto bad;
	r = ddsnap_volume_get(t, &id);
	if (r) {
		ti->error = r == -ESTALE ? "Devices are in use as another volume" :
					   "Cannot make the volume";
		goto bad;
	}
	ti->private = t;
	ti->per_io_data_size = sizeof(struct ddsnap_io);
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	if (ddsnap_is_origin(t)) {
		ti->num_discard_bios = 1;
		ti->num_write_zeroes_bios = 1;
	}
	return 0;
bad:
	target_free(ti, t);
	return r;
}

static void ddsnap_dtr(struct dm_target *ti)
{
	struct ddsnap_target *t = ti->private;

	ddsnap_volume_put(t);
	target_free(ti, t);
}

/* ---- I/O ---- */

static void map_defer(struct ddsnap_target *t, struct ddsnap_io *io)
{
	struct ddsnap_volume *vol = t->volume;
	unsigned long flags;

	spin_lock_irqsave(&vol->lock, flags);
	list_add_tail(&io->list, &vol->incoming);
	list_add_tail(&io->held, &t->held);
	io->is_held = true;
	vol->nr_held++;
	spin_unlock_irqrestore(&vol->lock, flags);
	ddsnap_kick(vol);
}

static int map_origin(struct ddsnap_target *t, struct ddsnap_io *io, struct bio *bio)
{
	struct ddsnap_volume *vol = t->volume;

	bio_set_dev(bio, vol->origin);
	if (!bio_sectors(bio) || !op_is_write(bio_op(bio)))
		return DM_MAPIO_REMAPPED;

	io->first = bio->bi_iter.bi_sector >> vol->chunk_shift;
	io->last = (bio_end_sector(bio) - 1) >> vol->chunk_shift;
	if (ddsnap_origin_write_starts(vol, io))
		return DM_MAPIO_REMAPPED;
	if (bio_op(bio) == REQ_OP_DISCARD) {
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}
	map_defer(t, io);
	return DM_MAPIO_SUBMITTED;
}

static int ddsnap_map(struct dm_target *ti, struct bio *bio)
{
	struct ddsnap_target *t = ti->private;
	struct ddsnap_io *io = dm_per_bio_data(bio, sizeof(*io));

	memset(io, 0, sizeof(*io));
	io->target = t;
	INIT_LIST_HEAD(&io->list);
	bio->bi_iter.bi_sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	if (ddsnap_is_origin(t))
		return map_origin(t, io, bio);
	if (!bio_sectors(bio)) {
		bio_set_dev(bio, t->volume->store);
		return DM_MAPIO_REMAPPED;
	}
	return ddsnap_snap_map(t, io, bio);
}

static int ddsnap_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct ddsnap_target *t = ti->private;
	struct ddsnap_io *io = dm_per_bio_data(bio, sizeof(*io));
	struct ddsnap_volume *vol = t->volume;
	unsigned long flags;

	if (io->counter)
		ddsnap_origin_write_ends(vol, io);
	if (io->range.held) {
		spin_lock_irqsave(&vol->lock, flags);
		ddsnap_range_unlock(vol, &io->range);
		spin_unlock_irqrestore(&vol->lock, flags);
	}
	if (io->counted) {
		io->counted = false;
		if (atomic_dec_and_test(&t->snapshot->inflight) &&
		    READ_ONCE(t->snapshot->dropped))
			ddsnap_kick(vol);
	}
	return DM_ENDIO_DONE;
}

/* ---- suspend and resume ---- */

static void ddsnap_presuspend(struct dm_target *ti)
{
	struct ddsnap_target *t = ti->private;

	if (!dm_noflush_suspending(ti))
		return;
	WRITE_ONCE(t->requeue, true);
	ddsnap_kick(t->volume);
}

static void ddsnap_presuspend_undo(struct dm_target *ti)
{
	struct ddsnap_target *t = ti->private;

	WRITE_ONCE(t->requeue, false);
}

static void ddsnap_resume(struct dm_target *ti)
{
	struct ddsnap_target *t = ti->private;

	WRITE_ONCE(t->requeue, false);
	mutex_lock(&t->volume->mutex);
	t->active = true;
	mutex_unlock(&t->volume->mutex);
	ddsnap_agent_wake(t->volume, 0);
}

/* ---- status and message ---- */

static const char *link_name(struct ddsnap_volume *vol)
{
	return READ_ONCE(vol->link) == LINK_UP ? "connected" : "waiting";
}

static const char *mode_name(struct ddsnap_target *t)
{
	struct ddsnap_volume *vol = t->volume;

	if (t->snapshot->dropped)
		return "dropped";
	if (vol->abandoned)
		return "abandoned";
	if (READ_ONCE(vol->hold))
		return "barrier";
	return "normal";
}

/*
 * INFO: LINK MODE CHUNK EPOCH LIVE INFLIGHT HELD GRANTED COPYING COPIED PRIVATE
 *       MAPS BARRIERS LINKS READ_ERRORS WRITE_ERRORS DENIED
 *
 *   LINK      connected | waiting: for the server
 *   MODE      normal | barrier: origin writes are held, for a snapshot or
 *             because no server has been there yet | dropped: this snapshot is
 *             gone | abandoned: the server gave up all snapshots
 *   CHUNK     sectors in a chunk
 *   EPOCH     of the newest snapshot; of this one, for a snapshot
 *   LIVE      snapshots for which the origin's chunks are copied
 *   INFLIGHT  origin writes under way; for a snapshot, its I/O under way
 *   HELD      bios of the volume that wait for the server or for copies
 *   GRANTED   store chunks at hand
 *   COPYING   runs being copied now
 *   COPIED, PRIVATE   chunks copied so far from the origin, for snapshot writes
 *   MAPS, BARRIERS, LINKS   answered; begun; times that the server was reached
 *   *_ERRORS  copies that failed
 *   DENIED    times that the store was full and writes failed
 *
 * All counts but EPOCH and INFLIGHT are the volume's.
 */
static void status_info(struct ddsnap_target *t, char *result, unsigned int maxlen)
{
	struct ddsnap_volume *vol = t->volume;
	const struct ddsnap_counters *c = &vol->count;
	bool origin = ddsnap_is_origin(t);
	unsigned int sz = 0;

	DMEMIT("%s %s %u %llu %llu %ld %u %llu %u", link_name(vol), mode_name(t),
	       1u << vol->chunk_shift, origin ? vol->epoch : t->snapshot->epoch, vol->live,
	       origin ? ddsnap_origin_writes(vol) : (long)atomic_read(&t->snapshot->inflight),
	       READ_ONCE(vol->nr_held), vol->granted, vol->copies);
	DMEMIT(" %llu %llu %llu %llu %llu %llu %llu %llu", c->copied, c->privates, c->maps,
	       c->barriers, c->links, c->read_errors, c->write_errors, c->denied);
}

static void ddsnap_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			  char *result, unsigned int maxlen)
{
	struct ddsnap_target *t = ti->private;
	unsigned int sz = 0;

	if (type == STATUSTYPE_INFO) {
		status_info(t, result, maxlen);
	} else if (type == STATUSTYPE_TABLE) {
		DMEMIT("%s %s %s ", t->store->name, t->origin->name, t->agent_path);
		if (t->tag == DDSNAP_TAG_ORIGIN)
			DMEMIT("-1");
		else
			DMEMIT("%u", t->tag);
	} else {
		compat_status_ima(ti, result, maxlen, t->store->name, t->origin->name,
				  t->tag == DDSNAP_TAG_ORIGIN ? -1 : (s64)t->tag);
	}
}

/* "connect FD": FD of the caller is a stream socket connected to the server. */
static int ddsnap_message(struct dm_target *ti, unsigned int argc, char **argv,
			  char *result, unsigned int maxlen)
{
	struct ddsnap_target *t = ti->private;
	int fd;

	if (argc != 2 || strcasecmp(argv[0], "connect") || kstrtoint(argv[1], 10, &fd) || fd < 0)
		return -EINVAL;
	return ddsnap_link_connect(t->volume, fd);
}

/* ---- limits ---- */

static int ddsnap_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn,
				  void *data)
{
	struct ddsnap_target *t = ti->private;
	int r;

	/* An origin may have become smaller than this snapshot, since the last HELLO. */
	r = fn(ti, t->origin, 0, min_t(sector_t, ti->len, bdev_nr_sectors(t->origin->bdev)),
	       data);
	if (!r && !ddsnap_is_origin(t))
		r = fn(ti, t->store, 0, bdev_nr_sectors(t->store->bdev), data);
	return r;
}

static void ddsnap_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct ddsnap_target *t = ti->private;
	unsigned int chunk = 1u << t->volume->chunk_shift;

	/* A write that needs thousands of copies would hold up all others. */
	if (ddsnap_is_origin(t))
		compat_limit_zeroes(limits, max(chunk, ZEROES_MAX_SECTORS));
}

struct target_type ddsnap_target_type = {
	.name = "ddsnap",
	.version = { 1, 1, 0 },
	.features = DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = ddsnap_ctr,
	.dtr = ddsnap_dtr,
	.map = ddsnap_map,
	.end_io = ddsnap_end_io,
	.presuspend = ddsnap_presuspend,
	.presuspend_undo = ddsnap_presuspend_undo,
	.resume = ddsnap_resume,
	.status = ddsnap_status,
	.message = ddsnap_message,
	.iterate_devices = ddsnap_iterate_devices,
	.io_hints = ddsnap_io_hints,
};

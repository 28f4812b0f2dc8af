// SPDX-License-Identifier: GPL-2.0
/*
 * volume.c - the object that all targets of one origin and store share, and
 * its worker.
 *
 * The worker looks at everything in a fixed order and may be kicked by anybody
 * at any time.  A bio that it owns is looked at from scratch whenever something
 * that it waited for has changed; nothing is remembered about it in between, so
 * a lost link, a new epoch or a dropped snapshot needs no case of its own.
 */
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "ddsnap.h"

#define MIN_PENDINGS	256
#define MIN_MAPREQS	64
#define STOP_TIMEOUT	(2 * HZ)

static LIST_HEAD(ddsnap_volumes);
static DEFINE_MUTEX(ddsnap_volumes_mutex);	/* taken before volume->mutex */

void ddsnap_kick(struct ddsnap_volume *vol)
{
	queue_work(vol->wq, &vol->work);
}

/* Tells whoever waits on the devices of @only, or of the whole volume. */
void ddsnap_event(struct ddsnap_volume *vol, struct ddsnap_snapshot *only)
{
	struct ddsnap_target *t;

	lockdep_assert_held(&vol->mutex);
	list_for_each_entry(t, &vol->targets, list)
		if (t->active && (!only || t->snapshot == only))
			dm_table_event(t->ti->table);
}

/* ---- bios that the worker owns ---- */

static void io_disown(struct ddsnap_io *io)
{
	struct ddsnap_volume *vol = io->target->volume;

	if (io->overwrites) {
		io->overwrites->overwrite = NULL;
		io->overwrites = NULL;
	}
	spin_lock_irq(&vol->lock);
	if (io->is_held) {
		list_del(&io->held);
		io->is_held = false;
		vol->nr_held--;
	}
	spin_unlock_irq(&vol->lock);
}

/* Passes a held bio on; it is on none of the worker's lists any more. */
void ddsnap_io_submit(struct ddsnap_io *io, struct block_device *bdev, sector_t sector)
{
	struct bio *bio = ddsnap_io_bio(io);

	io_disown(io);
	compat_bio_may_wait(bio);
	bio_set_dev(bio, bdev);
	bio->bi_iter.bi_sector = sector;
	submit_bio_noacct(bio);
}

void ddsnap_io_end(struct ddsnap_io *io, blk_status_t status)
{
	struct bio *bio = ddsnap_io_bio(io);

	io_disown(io);
	bio->bi_status = status;
	bio_endio(bio);
}

/* Has the worker look again at all of @ios. */
void ddsnap_io_later(struct ddsnap_volume *vol, struct list_head *ios)
{
	list_splice_tail_init(ios, &vol->retry_ios);
}

static void target_take_all(struct ddsnap_target *t, struct list_head *out)
{
	struct ddsnap_io *io;

	spin_lock_irq(&t->volume->lock);
	list_for_each_entry(io, &t->held, held)
		if (!io->busy)
			list_move_tail(&io->list, out);
	spin_unlock_irq(&t->volume->lock);
}

static void target_end_all(struct ddsnap_target *t, blk_status_t status)
{
	struct ddsnap_io *io, *next;
	LIST_HEAD(ios);

	target_take_all(t, &ios);
	list_for_each_entry_safe(io, next, &ios, list) {
		list_del_init(&io->list);
		ddsnap_io_end(io, status);
	}
}

/* Origin writes need no copies any more: whatever they wait for is moot. */
void ddsnap_retry_origin(struct ddsnap_volume *vol)
{
	struct ddsnap_target *t;

	mutex_lock(&vol->mutex);
	list_for_each_entry(t, &vol->targets, list)
		if (ddsnap_is_origin(t))
			target_take_all(t, &vol->retry_ios);
	mutex_unlock(&vol->mutex);
}

static void handle_io(struct ddsnap_volume *vol, struct ddsnap_io *io)
{
	list_del_init(&io->list);
	if (READ_ONCE(io->target->requeue))
		ddsnap_io_end(io, BLK_STS_DM_REQUEUE);
	else if (ddsnap_is_origin(io->target))
		ddsnap_origin_write(vol, io);
	else
		ddsnap_snap_io(vol, io);
}

static void handle_ios(struct ddsnap_volume *vol)
{
	struct ddsnap_io *io, *next;
	LIST_HEAD(ios);

	list_splice_init(&vol->retry_ios, &ios);
	spin_lock_irq(&vol->lock);
	list_splice_tail_init(&vol->incoming, &ios);
	spin_unlock_irq(&vol->lock);

	list_for_each_entry_safe(io, next, &ios, list)
		handle_io(vol, io);
	if (!list_empty(&vol->retry_ios))
		ddsnap_kick(vol);
}

/* ---- snapshots ---- */

struct ddsnap_snapshot *ddsnap_snapshot_find(struct ddsnap_volume *vol, u64 epoch)
{
	struct ddsnap_snapshot *snap;

	lockdep_assert_held(&vol->mutex);
	list_for_each_entry(snap, &vol->snapshots, list)
		if (snap->epoch == epoch)
			return snap;
	return NULL;
}

static struct ddsnap_snapshot *snapshot_get(struct ddsnap_volume *vol,
					    const struct ddsnap_identified *id)
{
	u64 epoch = le64_to_cpu(id->epoch);
	struct ddsnap_snapshot *snap = ddsnap_snapshot_find(vol, epoch);

	if (!snap) {
		snap = kzalloc(sizeof(*snap), GFP_NOIO);
		if (!snap)
			return NULL;
		snap->volume = vol;
		snap->epoch = epoch;
		snap->chunks = (le64_to_cpu(id->sectors) + (1u << vol->chunk_shift) - 1) >>
			       vol->chunk_shift;
		snap->extents = RB_ROOT;
		snap->pendings = RB_ROOT;
		snap->window = 16;
		snap->attach_wanted = true;
		snap->dropped = epoch && vol->abandoned && epoch <= vol->abandoned_epoch;
		INIT_LIST_HEAD(&snap->maps);
		list_add_tail(&snap->list, &vol->snapshots);
	}
	snap->targets++;
	return snap;
}

/* Its I/O fails from now on; what is held fails in this pass of the worker. */
void ddsnap_snapshot_drop(struct ddsnap_snapshot *snap)
{
	struct ddsnap_volume *vol = snap->volume;

	if (snap->dropped)
		return;
	spin_lock_irq(&vol->lock);
	snap->dropped = true;
	ddsnap_extents_drop(snap);
	spin_unlock_irq(&vol->lock);
	DMWARN("%pU: snapshot of epoch %llu is gone, its device fails from now on",
	       &vol->uuid, snap->epoch);
	ddsnap_event(vol, snap);
}

static bool snapshot_idle(struct ddsnap_snapshot *snap)
{
	return RB_EMPTY_ROOT(&snap->pendings) && list_empty(&snap->maps) &&
	       !atomic_read(&snap->inflight);
}

static void snapshot_free(struct ddsnap_snapshot *snap)
{
	struct ddsnap_mapreq *req, *next_req;
	struct ddsnap_pending *p, *next;

	list_for_each_entry_safe(req, next_req, &snap->maps, list)
		ddsnap_mapreq_free(snap->volume, req);
	rbtree_postorder_for_each_entry_safe(p, next, &snap->pendings, rb)
		mempool_free(p, &snap->volume->pending_pool);
	ddsnap_extents_drop(snap);
	list_del(&snap->list);
	kfree(snap);
}

/* Ends held bios of targets that are to give them back, and of lost snapshots. */
static void handle_targets(struct ddsnap_volume *vol)
{
	struct ddsnap_snapshot *snap, *next;
	struct ddsnap_target *t;

	mutex_lock(&vol->mutex);
	list_for_each_entry(t, &vol->targets, list) {
		if (READ_ONCE(t->requeue))
			target_end_all(t, BLK_STS_DM_REQUEUE);
		else if (t->snapshot->dropped)
			target_end_all(t, BLK_STS_IOERR);
	}
	/* Without a target, and nothing for the server to hear of it. */
	list_for_each_entry_safe(snap, next, &vol->snapshots, list)
		if (!snap->targets && !snap->attached && snapshot_idle(snap) &&
		    !snap->drop_answer && vol->link != LINK_ATTACH)
			snapshot_free(snap);
	mutex_unlock(&vol->mutex);
}

/* ---- the worker ---- */

static void work_retry(struct work_struct *work)
{
	struct ddsnap_volume *vol = container_of(to_delayed_work(work),
						 struct ddsnap_volume, retry);

	ddsnap_kick(vol);
}

static void volume_work(struct work_struct *work)
{
	struct ddsnap_volume *vol = container_of(work, struct ddsnap_volume, work);
	unsigned int noio = memalloc_noio_save();

	ddsnap_link_receive(vol);
	ddsnap_copies_done(vol);
	ddsnap_barrier_step(vol);
	ddsnap_release_acked(vol);
	handle_targets(vol);
	handle_ios(vol);
	ddsnap_copies_start(vol);
	ddsnap_link_send(vol);
	memalloc_noio_restore(noio);
}

/* ---- making and unmaking ---- */

static void volume_init(struct ddsnap_volume *vol)
{
	mutex_init(&vol->mutex);
	mutex_init(&vol->agent_mutex);
	spin_lock_init(&vol->lock);
	INIT_LIST_HEAD(&vol->targets);
	INIT_LIST_HEAD(&vol->snapshots);
	INIT_LIST_HEAD(&vol->incoming);
	INIT_LIST_HEAD(&vol->done);
	INIT_LIST_HEAD(&vol->retry_ios);
	INIT_LIST_HEAD(&vol->held_ios);
	INIT_LIST_HEAD(&vol->grant_ios);
	INIT_LIST_HEAD(&vol->mem_ios);
	INIT_LIST_HEAD(&vol->fresh);
	INIT_LIST_HEAD(&vol->copied);
	INIT_LIST_HEAD(&vol->reported);
	INIT_LIST_HEAD(&vol->acked);
	INIT_LIST_HEAD(&vol->grants);
	INIT_LIST_HEAD(&vol->drops);
	INIT_LIST_HEAD(&vol->maps_unsent);
	INIT_LIST_HEAD(&vol->maps_sent);
	INIT_WORK(&vol->work, volume_work);
	INIT_DELAYED_WORK(&vol->retry, work_retry);
	INIT_DELAYED_WORK(&vol->agent_work, ddsnap_agent_work);
	init_completion(&vol->stopped);
	vol->ranges = RB_ROOT_CACHED;
	vol->pendings = RB_ROOT;
	vol->barrier = BARRIER_WELCOME;
	vol->hold = true;
}

static void volume_free(struct ddsnap_volume *vol)
{
	if (vol->wq)
		destroy_workqueue(vol->wq);
	if (!IS_ERR_OR_NULL(vol->kcopyd))
		dm_kcopyd_client_destroy(vol->kcopyd);
	ddsnap_grants_drop(vol);
	ddsnap_drops_forget(vol);
	mempool_exit(&vol->pending_pool);
	mempool_exit(&vol->mapreq_pool);
	bioset_exit(&vol->bios);
	ddsnap_bits_exit(&vol->bits);
	free_percpu(vol->inflight);
	kvfree(vol->stamps);
	kvfree(vol->rx);
	kvfree(vol->tx);
	kfree(vol->agent_path);
	mutex_destroy(&vol->mutex);
	mutex_destroy(&vol->agent_mutex);
	kfree(vol);
}

static int volume_allocate(struct ddsnap_volume *vol)
{
	vol->inflight = __alloc_percpu(sizeof(atomic_t), SMP_CACHE_BYTES);
	vol->stamps = kvcalloc(1u << DDSNAP_STAMPS_SHIFT, sizeof(u64), GFP_KERNEL);
	vol->rx = kvmalloc(DDSNAP_RX_SIZE, GFP_KERNEL);
	vol->tx = kvmalloc(DDSNAP_TX_SIZE, GFP_KERNEL);
	vol->wq = alloc_ordered_workqueue("ddsnap", WQ_MEM_RECLAIM | WQ_HIGHPRI);
	if (!vol->inflight || !vol->stamps || !vol->rx || !vol->tx || !vol->wq)
		return -ENOMEM;
	vol->kcopyd = dm_kcopyd_client_create(NULL);
	if (IS_ERR(vol->kcopyd))
		return PTR_ERR(vol->kcopyd);
	return mempool_init_slab_pool(&vol->pending_pool, MIN_PENDINGS, ddsnap_pending_cache) ?:
	       mempool_init_slab_pool(&vol->mapreq_pool, MIN_MAPREQS, ddsnap_mapreq_cache) ?:
	       bioset_init(&vol->bios, MIN_MAPREQS, 0, 0) ?:
	       ddsnap_bits_init(&vol->bits, vol->origin_chunks);
}

static struct ddsnap_volume *volume_create(struct ddsnap_target *t,
					   const struct ddsnap_identified *id)
{
	struct ddsnap_volume *vol = kzalloc(sizeof(*vol), GFP_KERNEL);
	int r = -ENOMEM;

	if (!vol)
		return ERR_PTR(r);
	volume_init(vol);
	memcpy(&vol->uuid, id->uuid, sizeof(vol->uuid));
	vol->chunk_shift = le32_to_cpu(id->chunk_shift);
	vol->origin = t->origin->bdev;
	vol->store = t->store->bdev;
	vol->origin_sectors = bdev_nr_sectors(vol->origin);
	vol->store_sectors = bdev_nr_sectors(vol->store);
	vol->origin_chunks = (vol->origin_sectors + (1u << vol->chunk_shift) - 1) >>
			     vol->chunk_shift;
	vol->store_chunks = vol->store_sectors >> vol->chunk_shift;
	vol->grant_batch = max(64u, 8192u >> vol->chunk_shift);
	vol->agent_path = kstrdup(t->agent_path, GFP_KERNEL);
	if (vol->agent_path)
		r = volume_allocate(vol);
	if (r) {
		volume_free(vol);
		return ERR_PTR(r);
	}
	list_add_tail(&vol->list, &ddsnap_volumes);
	return vol;
}

static struct ddsnap_volume *volume_find(struct ddsnap_target *t)
{
	struct ddsnap_volume *vol;

	list_for_each_entry(vol, &ddsnap_volumes, list)
		if (vol->origin == t->origin->bdev && vol->store == t->store->bdev)
			return vol;
	return NULL;
}

/*
 * Makes @t one of the targets of its volume, which is created when there is
 * none.  -ESTALE: the agent told another volume than the one that is live.
 */
int ddsnap_volume_get(struct ddsnap_target *t, const struct ddsnap_identified *id)
{
	struct ddsnap_volume *vol;
	int r = 0;

	mutex_lock(&ddsnap_volumes_mutex);
	vol = volume_find(t);
	if (!vol)
		vol = volume_create(t, id);
	if (IS_ERR(vol)) {
		mutex_unlock(&ddsnap_volumes_mutex);
		return PTR_ERR(vol);
	}
	if (memcmp(&vol->uuid, id->uuid, sizeof(vol->uuid)) ||
	    vol->chunk_shift != le32_to_cpu(id->chunk_shift)) {
		mutex_unlock(&ddsnap_volumes_mutex);
		return -ESTALE;
	}

	mutex_lock(&vol->mutex);
	t->snapshot = snapshot_get(vol, id);
	if (t->snapshot) {
		t->volume = vol;
		list_add_tail(&t->list, &vol->targets);
		vol->targets_total++;
	} else {
		r = -ENOMEM;
	}
	mutex_unlock(&vol->mutex);
	if (r && !vol->targets_total) {
		list_del(&vol->list);
		volume_free(vol);
	} else {
		ddsnap_kick(vol);
	}
	mutex_unlock(&ddsnap_volumes_mutex);
	return r;
}

static void volume_stop(struct ddsnap_volume *vol)
{
	struct ddsnap_snapshot *snap, *next;
	struct ddsnap_pending *p, *next_p;

	/* The worker says good-bye: RETURN and DETACH for all. */
	WRITE_ONCE(vol->stopping, true);
	ddsnap_kick(vol);
	wait_for_completion_timeout(&vol->stopped, STOP_TIMEOUT);

	/*
	 * No copy outlives the link.  kcopyd is empty when it is destroyed; its
	 * callbacks may kick the worker, which no longer starts copies.
	 */
	dm_kcopyd_client_destroy(vol->kcopyd);
	vol->kcopyd = NULL;
	ddsnap_agent_close(vol);
	ddsnap_link_stop(vol);
	cancel_delayed_work_sync(&vol->retry);
	/* Pairs with flush_ended(). */
	while (smp_load_acquire(&vol->flush_busy))
		schedule_timeout_uninterruptible(1);
	/* Completions kick under the lock: the last one has done so now. */
	spin_lock_irq(&vol->lock);
	spin_unlock_irq(&vol->lock);
	flush_work(&vol->work);
	ddsnap_agent_close(vol);

	rbtree_postorder_for_each_entry_safe(p, next_p, &vol->pendings, rb)
		mempool_free(p, &vol->pending_pool);
	list_for_each_entry_safe(snap, next, &vol->snapshots, list)
		snapshot_free(snap);
}

/* Undoes ddsnap_volume_get(); no bio of @t is in flight. */
void ddsnap_volume_put(struct ddsnap_target *t)
{
	struct ddsnap_volume *vol = t->volume;
	bool last;

	mutex_lock(&ddsnap_volumes_mutex);
	mutex_lock(&vol->mutex);
	list_del(&t->list);
	t->snapshot->targets--;
	last = !--vol->targets_total;
	mutex_unlock(&vol->mutex);
	if (last) {
		list_del(&vol->list);
		volume_stop(vol);
		volume_free(vol);
	} else {
		ddsnap_kick(vol);
	}
	mutex_unlock(&ddsnap_volumes_mutex);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * barrier.c - the moment in which a snapshot comes to be.
 *
 *   NONE --BARRIER--> DRAIN --> FLUSH --> READY --RESUME--> ADOPT --> NONE
 *   any held state --link lost--> WELCOME --WELCOME--> ADOPT --> NONE
 *
 * A volume starts in WELCOME: no origin write may start before the server has
 * told the epoch.  ADOPT takes the new epoch only when no origin write of the
 * old one is in flight.  After RESUME that is already so.
 *
 * `hold` is set first and read by map() after it has counted itself, with full
 * barriers on both sides: a write is either seen by the drain or sees `hold`.
 */
#include "ddsnap.h"

static void barrier_hold(struct ddsnap_volume *vol, enum ddsnap_barrier_state state)
{
	vol->barrier = state;
	WRITE_ONCE(vol->hold, true);
	smp_mb(); /* pairs with ddsnap_origin_write_starts() */
}

void ddsnap_set_pass(struct ddsnap_volume *vol)
{
	WRITE_ONCE(vol->pass, !vol->live || vol->abandoned);
}

void ddsnap_barrier_start(struct ddsnap_volume *vol, u64 id)
{
	vol->barrier_id = id;
	vol->count.barriers++;
	barrier_hold(vol, BARRIER_DRAIN);
}

/* Go on under @epoch, which is the present one or a newer one. */
void ddsnap_barrier_adopt(struct ddsnap_volume *vol, u64 epoch, u64 live)
{
	vol->adopt_epoch = epoch;
	vol->adopt_live = live;
	vol->ready_wanted = false;
	barrier_hold(vol, BARRIER_ADOPT);
}

void ddsnap_barrier_link_lost(struct ddsnap_volume *vol)
{
	vol->ready_wanted = false;
	if (vol->barrier != BARRIER_NONE)
		vol->barrier = BARRIER_WELCOME;
}

static void barrier_adopted(struct ddsnap_volume *vol)
{
	if (vol->adopt_epoch != vol->epoch)
		ddsnap_bits_clear_all(&vol->bits);
	vol->epoch = vol->adopt_epoch;
	vol->live = vol->adopt_live;
	if (vol->abandoned && vol->epoch > vol->abandoned_epoch)
		vol->abandoned = false;
	ddsnap_set_pass(vol);
	vol->barrier = BARRIER_NONE;
	/* Whoever sees hold clear sees the new bits and the new pass. */
	smp_store_release(&vol->hold, false);
	list_splice_tail_init(&vol->held_ios, &vol->retry_ios);
	if (vol->pass)
		ddsnap_retry_origin(vol);
}

static void flush_ended(struct bio *bio)
{
	struct ddsnap_volume *vol = bio->bi_private;
	unsigned long flags;

	vol->flush_status = bio->bi_status;
	spin_lock_irqsave(&vol->lock, flags);
	/* Whoever sees it clear sees the status.  And kick under the lock: see volume_stop(). */
	smp_store_release(&vol->flush_busy, false);
	ddsnap_kick(vol);
	spin_unlock_irqrestore(&vol->lock, flags);
}

static void flush_start(struct ddsnap_volume *vol)
{
	struct bio *bio = &vol->flush_bio;

	compat_bio_init_flush(bio, vol->origin);
	bio->bi_private = vol;
	bio->bi_end_io = flush_ended;
	vol->flush_busy = true;
	vol->barrier = BARRIER_FLUSH;
	submit_bio_noacct(bio);
}

/* Goes on with whatever the barrier waits for.  Never sleeps for long. */
void ddsnap_barrier_step(struct ddsnap_volume *vol)
{
	/* A flush of a barrier that a lost link ended must be over as well. */
	if (smp_load_acquire(&vol->flush_busy))
		return;

	switch (vol->barrier) {
	case BARRIER_DRAIN:
		if (!ddsnap_origin_writes(vol))
			flush_start(vol);
		break;
	case BARRIER_FLUSH:
		if (vol->flush_status) {
			/* What would be frozen is not what was written. */
			ddsnap_link_close(vol, "the origin cannot be flushed");
			break;
		}
		vol->barrier = BARRIER_READY;
		vol->ready_wanted = true;
		break;
	case BARRIER_ADOPT:
		if (!ddsnap_origin_writes(vol))
			barrier_adopted(vol);
		break;
	default:
		break;
	}
}

/*
 * The server gives up every snapshot: the origin goes on without copies until
 * there is a snapshot that was made later.
 */
void ddsnap_abandon(struct ddsnap_volume *vol)
{
	bool adopting = vol->barrier == BARRIER_ADOPT;
	u64 epoch = adopting ? vol->adopt_epoch : vol->epoch;
	struct ddsnap_snapshot *snap;

	vol->abandoned = true;
	vol->abandoned_epoch = epoch;
	mutex_lock(&vol->mutex);
	list_for_each_entry(snap, &vol->snapshots, list)
		if (snap->epoch)
			ddsnap_snapshot_drop(snap);
	mutex_unlock(&vol->mutex);
	ddsnap_barrier_adopt(vol, epoch, adopting ? vol->adopt_live : vol->live);
}

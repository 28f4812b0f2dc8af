/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ddsnap.h - private structures of the device-mapper target "ddsnap".
 *
 * Reading order: uapi/dm-ddsnap.h (the protocol), this file, target.c (what
 * device-mapper calls), volume.c (the worker), snapcopy.c (origin writes),
 * snapread.c (snapshot I/O), link.c and protocol.c (the server), agent.c.
 *
 * Who may touch what
 * ------------------
 * A volume has one ordered worker.  Everything of a volume that has no other
 * rule beside it belongs to the worker alone and needs no lock.  map() and
 * end_io() run in any context; they take `lock` (interrupts off) or use what
 * is marked lockless, and then kick the worker.
 *
 *   volume->mutex   the lists of targets and snapshots, and their reference
 *                   counts.  Taken by constructor, destructor, worker.
 *   volume->lock    marked (L): incoming bios, range locks, extents, stamps.
 *
 * The mutex is taken before the lock.
 */
#ifndef DDSNAP_H
#define DDSNAP_H

#include <linux/atomic.h>
#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/device-mapper.h>
#include <linux/dm-kcopyd.h>
#include <linux/list.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/uuid.h>
#include <linux/workqueue.h>

#include "compat/compat.h"
#include "uapi/dm-ddsnap.h"

#define DM_MSG_PREFIX "ddsnap"

/* Validity of cached "still on the origin" answers is kept per region. */
#define DDSNAP_REGION_SHIFT	6
#define DDSNAP_REGION_CHUNKS	(1u << DDSNAP_REGION_SHIFT)
#define DDSNAP_STAMPS_SHIFT	12

#define DDSNAP_COPY_TRIES	3	/* store addresses tried for one copy */
#define DDSNAP_MAP_MAX		256	/* chunks asked for in one MAP */
#define DDSNAP_RX_SIZE		(2 * (DDSNAP_MAX_PAYLOAD + 64))
#define DDSNAP_TX_SIZE		(DDSNAP_MAX_PAYLOAD + 64)

struct ddsnap_target;
struct ddsnap_volume;

/* Chunks that a fall-through read of the origin protects from being written. */
struct ddsnap_rlock {
	struct rb_node rb;
	u64 start;
	u64 last;		/* inclusive */
	u64 subtree_last;
	bool held;		/* (L) is in volume->ranges */
};

/* Lives in the bio's per-bio data. */
struct ddsnap_io {
	struct ddsnap_target *target;
	struct list_head list;	/* where it waits; the worker's after (L) */
	struct list_head held;	/* (L) target->held while we own the bio */
	u64 first;		/* chunks that the bio touches */
	u64 last;
	u64 safe;		/* origin: chunks before it are safe under */
	unsigned long safe_generation;	/* this generation of the bits */
	atomic_t *counter;	/* in-flight origin write: what to decrement */
	struct ddsnap_rlock range;
	struct ddsnap_pending *overwrites;	/* its data becomes the chunk */
	bool is_held;		/* (L) */
	bool counted;		/* in snapshot->inflight */
	bool busy;		/* a clone of it is in flight: hands off */
};

/* One snapshot that has targets; epoch 0 stands for the origin. */
struct ddsnap_snapshot {
	struct ddsnap_volume *volume;
	struct list_head list;	/* volume->snapshots, under mutex */
	u64 epoch;
	u64 chunks;		/* its size */
	unsigned int targets;	/* under mutex */

	bool attach_wanted;	/* ATTACH is to be sent on this link */
	bool attached;		/* the server knows of it on this link */
	bool dropped;		/* (L to write) its I/O fails from now on */
	bool drop_answer;	/* DROPPED is owed to the server */
	atomic_t inflight;	/* bios and copies under way */

	struct rb_root extents;	/* (L) struct ddsnap_extent by chunk */
	unsigned int nr_extents;
	struct rb_root pendings;	/* private chunks being made */
	struct list_head maps;	/* struct ddsnap_mapreq, unanswered */
	unsigned int nr_maps;
	u64 next_chunk;		/* a read here is sequential */
	u32 window;		/* chunks to ask for then */
};

/* A cached answer of the server; see snapread.c for how long it holds. */
struct ddsnap_extent {
	struct rb_node rb;
	u64 chunk;
	u64 address;
	u64 stamp;		/* ORIGIN: volume->stamp when MAP was made */
	u32 count;
	u32 kind;		/* enum ddsnap_run_kind */
};

/* A MAP that was not answered yet. */
struct ddsnap_mapreq {
	struct list_head list;	/* snapshot->maps */
	struct list_head queue;	/* volume->maps_unsent or maps_sent */
	struct ddsnap_snapshot *snapshot;
	u64 id;
	u64 chunk;
	u64 stamp;
	u32 count;
	bool sent;
	struct list_head ios;	/* held their range locks before it was sent */
	struct list_head late;	/* came later: looked at again from scratch */
};

enum ddsnap_pending_state {
	PENDING_NEW,		/* has an address, not started */
	PENDING_COPYING,	/* kcopyd or a clone writes to the address */
	PENDING_COPIED,		/* to be reported */
	PENDING_REPORTED,	/* waits for ACK */
	PENDING_ACKED,		/* origin: waits for range locks or RESUME */
};

/* Chunks on their way into the store, as one contiguous run. */
struct ddsnap_pending {
	struct rb_node rb;	/* volume->pendings or snapshot->pendings */
	struct list_head list;	/* queue of its state in the volume */
	struct list_head ios;	/* wait for it, then start from scratch */
	struct ddsnap_volume *volume;
	struct ddsnap_snapshot *snapshot;	/* NULL: copied from the origin */
	u64 chunk;
	u64 address;
	u32 count;
	u32 flags;		/* of its REPORT */
	u64 sequence;		/* of its REPORT on this link */
	u64 told_epoch;		/* ours at its last REPORT; 0: never reported */
	u64 ack_epoch;
	enum ddsnap_pending_state state;
	unsigned int tries;
	struct block_device *from_bdev;
	sector_t from;
	struct ddsnap_rlock range;	/* a private copy made from the origin */
	struct ddsnap_io *overwrite;	/* instead of a copy */
	int read_err;
	unsigned long write_err;
};

/* Store chunks that the server granted and nobody uses yet. */
struct ddsnap_grant {
	struct list_head list;
	u64 address;
	u64 count;
};

enum ddsnap_link_state {
	LINK_DOWN,		/* no socket */
	LINK_NEW,		/* socket; copies of the old link still run */
	LINK_HELLO,		/* HELLO sent */
	LINK_ATTACH,		/* WELCOME came; waiting for ATTACHED */
	LINK_UP,
};

enum ddsnap_barrier_state {
	BARRIER_NONE,
	BARRIER_WELCOME,	/* held until a server tells the epoch */
	BARRIER_ADOPT,		/* WELCOME or RESUME: drain, then go on */
	BARRIER_DRAIN,		/* BARRIER: waiting for writes in flight */
	BARRIER_FLUSH,		/* flushing the origin */
	BARRIER_READY,		/* READY is sent or about to be */
};

/* The copied-bits of 8 * PAGE_SIZE chunks. */
struct ddsnap_bits_page {
	unsigned long *map;
	unsigned long generation;	/* valid only if the volume's */
};

struct ddsnap_bits_array {
	struct ddsnap_bits_array *older;	/* what it replaced */
	unsigned long nr;
	struct ddsnap_bits_page pages[];
};

struct ddsnap_bits {
	struct ddsnap_bits_array *array;
	unsigned long generation;
};

struct ddsnap_counters {
	u64 copied;		/* chunks of the origin */
	u64 privates;		/* chunks made for snapshot writes */
	u64 maps;
	u64 barriers;
	u64 links;		/* times that a link came up */
	u64 read_errors;
	u64 write_errors;
	u64 denied;
};

struct ddsnap_volume {
	struct list_head list;	/* ddsnap_volumes */
	unsigned int targets_total;
	uuid_t uuid;
	struct block_device *origin;	/* open as long as any target lives */
	struct block_device *store;
	sector_t origin_sectors;	/* sizes: see ddsnap_volume_measure() */
	sector_t store_sectors;
	u64 origin_chunks;
	u64 store_chunks;
	unsigned int chunk_shift;	/* log2 of sectors */

	struct mutex mutex;
	struct list_head targets;
	struct list_head snapshots;

	struct workqueue_struct *wq;
	struct work_struct work;
	struct delayed_work retry;	/* kicks the worker later */
	bool stopping;		/* no new copies, RETURN and DETACH for all */
	bool closing;		/* and no link any more */
	struct completion stopped;
	struct dm_kcopyd_client *kcopyd;
	struct bio_set bios;	/* clones of full-chunk snapshot writes */
	mempool_t pending_pool;
	mempool_t mapreq_pool;

	spinlock_t lock;
	struct list_head incoming;	/* (L) bios from map() */
	struct list_head done;		/* (L) pendings whose copy ended */
	struct rb_root_cached ranges;	/* (L) */
	bool range_waiters;		/* (L) an acked write waits */
	u64 stamp;			/* (L) */
	u64 *stamps;			/* (L) */
	bool measure;			/* (L) sizes may have changed */
	struct ddsnap_bits_array *more_bits;	/* (L) for the worker to adopt */
	unsigned int nr_held;		/* (L) */

	/* Lockless in map(); see ddsnap_origin_write_starts(). */
	atomic_t __percpu *inflight;
	bool hold;		/* no origin write may start */
	bool pass;		/* origin writes need no copies */
	struct ddsnap_bits bits;

	u64 epoch;
	u64 live;
	bool abandoned;		/* snapshots up to abandoned_epoch are lost */
	u64 abandoned_epoch;
	enum ddsnap_barrier_state barrier;
	u64 barrier_id;
	u64 adopt_epoch;
	u64 adopt_live;
	bool ready_wanted;
	struct bio flush_bio;
	bool flush_busy;	/* worker sets, completion clears (release) */
	blk_status_t flush_status;

	struct list_head retry_ios;	/* to be looked at from scratch */
	struct list_head held_ios;	/* by the barrier */
	struct list_head grant_ios;	/* want a grant */
	struct list_head mem_ios;	/* want a pending or a mapreq */
	struct rb_root pendings;
	struct list_head fresh;		/* PENDING_NEW */
	struct list_head copied;	/* PENDING_COPIED */
	struct list_head reported;	/* PENDING_REPORTED, in order */
	struct list_head acked;		/* PENDING_ACKED */
	unsigned int copies;		/* PENDING_COPYING */
	unsigned int origin_copies;	/* of the origin, not yet PENDING_COPIED */
	unsigned int careful;		/* copies to be made chunk by chunk */
	struct list_head grants;
	u64 granted;
	u64 grant_batch;		/* chunks to ask for */
	bool grant_used;		/* since the last answer */
	bool grant_asked;
	struct list_head maps_unsent;
	struct list_head maps_sent;
	u64 next_map_id;

	/* link.c */
	enum ddsnap_link_state link;
	struct socket *sock;
	struct socket *new_sock;	/* (L) from the message "connect" */
	void (*old_data_ready)(struct sock *sk);
	void (*old_state_change)(struct sock *sk);
	void (*old_write_space)(struct sock *sk);
	struct list_head drops;	/* DROPPED owed for snapshots without targets */
	unsigned int attaches;		/* ATTACHED still to come */
	u64 next_sequence;		/* of the next report record */
	u64 acked_through;
	u8 *rx;
	unsigned int rx_len;
	int readable;		/* the socket may have something to read */
	u8 *tx;
	unsigned int tx_len;
	unsigned int tx_off;

	/* agent.c; under agent_mutex */
	struct mutex agent_mutex;
	struct delayed_work agent_work;
	struct socket *agent_sock;
	dev_t agent_dev;	/* named in the request under way */
	char *agent_path;

	struct ddsnap_counters count;
};

struct ddsnap_target {
	struct dm_target *ti;
	struct list_head list;	/* volume->targets, under mutex */
	struct ddsnap_volume *volume;
	struct ddsnap_snapshot *snapshot;	/* its epoch 0: the origin */
	struct dm_dev *store;
	struct dm_dev *origin;
	char *agent_path;
	u32 tag;
	bool active;		/* its device takes messages */
	bool requeue;		/* noflush suspend: give held bios back */
	struct list_head held;	/* (L) */
};

static inline bool ddsnap_is_origin(const struct ddsnap_target *t)
{
	return !t->snapshot->epoch;
}

static inline struct bio *ddsnap_io_bio(struct ddsnap_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(*io));
}

static inline sector_t ddsnap_sector(const struct ddsnap_volume *vol, u64 chunk)
{
	return (sector_t)chunk << vol->chunk_shift;
}

/* volume.c */
int ddsnap_volume_get(struct ddsnap_target *t, const struct ddsnap_identified *id);
void ddsnap_volume_put(struct ddsnap_target *t);
void ddsnap_volume_measure(struct ddsnap_volume *vol);
void ddsnap_kick(struct ddsnap_volume *vol);
void ddsnap_event(struct ddsnap_volume *vol, struct ddsnap_snapshot *only);
struct ddsnap_snapshot *ddsnap_snapshot_find(struct ddsnap_volume *vol, u64 epoch);
void ddsnap_snapshot_drop(struct ddsnap_snapshot *snap);
void ddsnap_io_submit(struct ddsnap_io *io, struct block_device *bdev, sector_t sector);
void ddsnap_io_end(struct ddsnap_io *io, blk_status_t status);
void ddsnap_io_later(struct ddsnap_volume *vol, struct list_head *ios);
void ddsnap_retry_origin(struct ddsnap_volume *vol);

/* barrier.c */
void ddsnap_barrier_start(struct ddsnap_volume *vol, u64 id);
void ddsnap_barrier_adopt(struct ddsnap_volume *vol, u64 epoch, u64 live);
void ddsnap_barrier_step(struct ddsnap_volume *vol);
void ddsnap_barrier_link_lost(struct ddsnap_volume *vol);
void ddsnap_set_pass(struct ddsnap_volume *vol);
void ddsnap_abandon(struct ddsnap_volume *vol);

/* bits.c */
int ddsnap_bits_init(struct ddsnap_bits *bits, u64 chunks);
void ddsnap_bits_exit(struct ddsnap_bits *bits);
struct ddsnap_bits_array *ddsnap_bits_array(u64 chunks);
bool ddsnap_bits_cover(const struct ddsnap_bits *bits, u64 chunks);
void ddsnap_bits_adopt(struct ddsnap_bits *bits, struct ddsnap_bits_array *array);
bool ddsnap_bits_test(const struct ddsnap_bits *bits, u64 chunk);
bool ddsnap_bits_all(const struct ddsnap_bits *bits, u64 first, u64 last);
void ddsnap_bits_set(struct ddsnap_bits *bits, u64 chunk);
void ddsnap_bits_clear_all(struct ddsnap_bits *bits);

/* snapcopy.c */
bool ddsnap_origin_write_starts(struct ddsnap_volume *vol, struct ddsnap_io *io);
void ddsnap_origin_write_ends(struct ddsnap_volume *vol, struct ddsnap_io *io);
long ddsnap_origin_writes(struct ddsnap_volume *vol);
void ddsnap_origin_write(struct ddsnap_volume *vol, struct ddsnap_io *io);
struct ddsnap_pending *ddsnap_pending_at(struct rb_root *root, u64 chunk);
struct ddsnap_pending *ddsnap_pending_new(struct ddsnap_volume *vol,
					  struct ddsnap_snapshot *snap, u64 chunk,
					  u32 count, struct list_head **wait);
void ddsnap_pending_free(struct ddsnap_pending *p);
void ddsnap_pending_copied(struct ddsnap_pending *p);
void ddsnap_copies_start(struct ddsnap_volume *vol);
void ddsnap_copies_done(struct ddsnap_volume *vol);
void ddsnap_copy_ended(struct ddsnap_pending *p, int read_err, unsigned long write_err);
void ddsnap_acked(struct ddsnap_pending *p, u64 epoch);
void ddsnap_release_acked(struct ddsnap_volume *vol);
void ddsnap_grant_add(struct ddsnap_volume *vol, u64 address, u64 count);
bool ddsnap_grant_take(struct ddsnap_volume *vol, u64 *address, u32 *count);
void ddsnap_grants_drop(struct ddsnap_volume *vol);
void ddsnap_grants_denied(struct ddsnap_volume *vol);
bool ddsnap_grants_wanted(struct ddsnap_volume *vol);

/* snapread.c */
int ddsnap_snap_map(struct ddsnap_target *t, struct ddsnap_io *io, struct bio *bio);
void ddsnap_snap_io(struct ddsnap_volume *vol, struct ddsnap_io *io);
void ddsnap_snap_mapped(struct ddsnap_mapreq *req, const struct ddsnap_run *runs,
			unsigned int nr);
void ddsnap_mapreq_free(struct ddsnap_volume *vol, struct ddsnap_mapreq *req);
void ddsnap_overwrite_start(struct ddsnap_pending *p);
void ddsnap_private_copied(struct ddsnap_pending *p);
void ddsnap_private_acked(struct ddsnap_pending *p);
void ddsnap_private_forget(struct ddsnap_pending *p);

/* extent.c */
struct ddsnap_extent *ddsnap_extent_at(struct ddsnap_snapshot *snap, u64 chunk);
void ddsnap_extent_add(struct ddsnap_snapshot *snap, const struct ddsnap_extent *e);
void ddsnap_extents_drop(struct ddsnap_snapshot *snap);
u64 *ddsnap_stamp_of(struct ddsnap_volume *vol, u64 epoch, u64 chunk);
void ddsnap_stamp(struct ddsnap_volume *vol, u64 epoch, u64 chunk, u32 count);
void ddsnap_range_lock(struct ddsnap_volume *vol, struct ddsnap_rlock *range,
		       u64 first, u64 last);
void ddsnap_range_unlock(struct ddsnap_volume *vol, struct ddsnap_rlock *range);
bool ddsnap_range_busy(struct ddsnap_volume *vol, u64 first, u64 last);

/* link.c */
int ddsnap_link_connect(struct ddsnap_volume *vol, int fd);
void ddsnap_link_receive(struct ddsnap_volume *vol);
void ddsnap_link_send(struct ddsnap_volume *vol);
void ddsnap_link_close(struct ddsnap_volume *vol, const char *why);
void ddsnap_drops_forget(struct ddsnap_volume *vol);
void ddsnap_link_stop(struct ddsnap_volume *vol);

/* protocol.c */
bool ddsnap_frame_handle(struct ddsnap_volume *vol, const struct ddsnap_frame *frame,
			 const void *payload, unsigned int length);
unsigned int ddsnap_frame_next(struct ddsnap_volume *vol, u8 *buf);

/* agent.c */
int ddsnap_agent_identify(struct dm_target *ti, const char *path,
			  const struct ddsnap_identify *ask,
			  struct ddsnap_identified *ret);
void ddsnap_agent_work(struct work_struct *work);
void ddsnap_agent_wake(struct ddsnap_volume *vol, unsigned int seconds);
void ddsnap_agent_close(struct ddsnap_volume *vol);
void ddsnap_dev_pack(struct ddsnap_dev *out, dev_t dev);
int ddsnap_agent_init(void);
void ddsnap_agent_exit(void);

/* module.c */
extern uuid_t ddsnap_boot_id;
extern unsigned int ddsnap_extents_max;
extern struct kmem_cache *ddsnap_pending_cache;
extern struct kmem_cache *ddsnap_mapreq_cache;
extern struct target_type ddsnap_target_type;

#endif /* DDSNAP_H */

/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * dm-ddsnap.h - the contract between the dm target "ddsnap", the ddsnap agent
 * and the ddsnap server.  It is the only code that kernel and user space share.
 *
 * Words
 * -----
 * A volume is one origin device plus one snapshot store device, named by its
 * UUID.  A chunk is 2^chunk_shift sectors (of 512 bytes); chunk numbers count
 * from the start of the origin, store addresses count chunks from the start of
 * the store device.  A snapshot is named on the wire by its epoch: the number,
 * never used twice, that it got when it was created.  Epoch 0 names no snapshot
 * and stands for the origin.  A tag is the user's name for a snapshot; on the
 * wire it occurs only where a device is identified.
 *
 * Frames
 * ------
 * Every message on every socket is one frame: struct ddsnap_frame followed by
 * `length` bytes of payload, at most DDSNAP_MAX_PAYLOAD.  All integers are
 * little-endian, all structs are packed to multiples of 8 bytes without
 * holes, reserved fields are zero and are ignored by the receiver.  Who
 * receives a frame with a wrong magic, an unknown type, or a payload that its
 * type does not allow closes the connection; nothing of such a frame is used.
 *
 * Kernel and agent (the AGENT_SOCKET of the table line, a Unix stream socket)
 * ---------------------------------------------------------------------------
 * The kernel connects, sends one request, and reads one reply.
 *
 *   IDENTIFY    (from the target's constructor) which device this table line
 *               means.  The agent asks the server that has registered for the
 *               same two devices and passes on its answer: IDENTIFIED or
 *               REFUSED.  It waits for a server that is not there yet.  The
 *               kernel asks again, for ten seconds, when the connection ends
 *               without an answer: an agent may be restarted at any time.
 *   NEED_SERVER (whenever the volume has a live device and no link)  The agent
 *               connects to the volume's server and hands the socket over by
 *               the dm message "connect FD" to `dm_dev`; it keeps the request
 *               for as long as the kernel keeps the connection open.  Then it
 *               closes the connection.  REFUSED tells why there is no hope.
 *
 * Kernel and server (the socket that "connect" passed on), one per volume
 * -----------------------------------------------------------------------
 * 1. HELLO (kernel) -> WELCOME or REFUSED (server).  HELLO promises that no
 *    copy into any range granted on an earlier link is still under way, and
 *    gives back all of those ranges but the ones reported again in 2.  It
 *    tells the sizes of the devices as they are now: a server that has to
 *    hear of new ones closes the link.  Nothing is granted that lies beyond.
 * 2. ATTACH for every device of the volume -> ATTACHED each; then REPORT and
 *    MAP for all that was not answered on the earlier link.  Only then
 *    GRANT_WANTED, and READY only after those REPORTs.  Every request may be
 *    repeated: the server finds the same answer again.  A copy of the origin
 *    that was reported under an older epoch than WELCOME's is not reported
 *    again: it may be recorded, and newer snapshots need another copy.
 * 3. From then on, in any order:
 *
 *   GRANT_WANTED -> GRANT    The server hands out free chunks of the store,
 *               written to its journal first.  DENIED: there is no space, and
 *               no snapshot that may be given up.  A request stands until it
 *               is answered; one may be under way at a time.
 *   REPORT   -> ACK          Copies that have completed.  Records are numbered
 *               by the kernel from frame.sequence on, without gaps, from 1 on
 *               every link.  ACK `through` answers all records up to that
 *               number: their contents and their exceptions are durable, under
 *               the epoch `epoch`.  The kernel lets an origin write go
 *               to chunks under epoch E only with an ACK that carries E.
 *               The server makes the contents durable, not the kernel: a copy
 *               is reported when its write has completed, before any flush.
 *   MAP      -> MAPPED       Where the chunks of a snapshot are.  MAPPED covers
 *               a run from `chunk` on of at least one chunk and at most the
 *               count asked for.  The kernel holds the chunks' range lock from
 *               before MAP is sent until the read of a chunk that is
 *               answered ORIGIN has completed; an origin write waits for it.
 *   BARRIER  -> READY        (server asks)  The kernel holds new origin writes,
 *               waits for those in flight, flushes the origin, and says READY
 *               when all copies of the origin that had begun are reported.
 *   RESUME                   ends a barrier.  A new `epoch` invalidates all
 *               "already copied" bits before a held write is looked at again.
 *               `live` is 0 when no snapshot or bookmark needs reports any more; RESUME also
 *               comes without BARRIER, with the epoch unchanged, when `live`
 *               changes by deletion.
 *   DROP     -> DROPPED      The snapshot is gone or given up: the kernel fails
 *               its I/O from now on, waits for what is in flight, and says
 *               DROPPED.  Only then may the server use its chunks again.
 *   DETACH                   a device of the volume was removed.
 *   RETURN                   gives back granted chunks that were not used.
 *   ABANDON                  the server cannot write its metadata any more
 *               and gives up every snapshot so that origin writes go on.
 *
 * When the connection breaks, both sides forget what was under way but not
 * what was acknowledged; the kernel sends NEED_SERVER and starts again at 1.
 *
 * Kernel-internal locking, user tools and their control frames (types from
 * DDSNAP_CONTROL on) are not part of this header; see doc/protocol.md.
 *
 * Changes
 *   1  first version
 */
#ifndef _UAPI_DM_DDSNAP_H
#define _UAPI_DM_DDSNAP_H

#include <linux/types.h>

#define DDSNAP_PROTOCOL		1
#define DDSNAP_MAGIC		0x70736464u	/* "ddsp" */
#define DDSNAP_MAX_PAYLOAD	65536u
#define DDSNAP_TAG_ORIGIN	0xffffffffu	/* tag -1 of the table line */
#define DDSNAP_MIN_CHUNK_SHIFT	3		/* 4 KiB */
#define DDSNAP_MAX_CHUNK_SHIFT	11		/* 1 MiB */
#define DDSNAP_NO_ADDRESS	(~0ull)		/* an exception without content */
#define DDSNAP_REASON_MAX	256

enum ddsnap_type {
	/* kernel -> agent */
	DDSNAP_IDENTIFY		= 1,	/* struct ddsnap_identify */
	DDSNAP_NEED_SERVER	= 2,	/* struct ddsnap_need_server */
	/* agent or server -> kernel */
	DDSNAP_IDENTIFIED	= 3,	/* struct ddsnap_identified */
	DDSNAP_REFUSED		= 4,	/* struct ddsnap_refused */

	/* kernel -> server */
	DDSNAP_HELLO		= 16,	/* struct ddsnap_hello */
	DDSNAP_ATTACH		= 17,	/* struct ddsnap_attach */
	DDSNAP_DETACH		= 18,	/* struct ddsnap_attach */
	DDSNAP_REPORT		= 19,	/* struct ddsnap_report [] */
	DDSNAP_MAP		= 20,	/* struct ddsnap_map [] */
	DDSNAP_GRANT_WANTED	= 21,	/* struct ddsnap_grant_wanted */
	DDSNAP_RETURN		= 22,	/* struct ddsnap_range [] */
	DDSNAP_READY		= 23,	/* struct ddsnap_barrier */
	DDSNAP_DROPPED		= 24,	/* struct ddsnap_drop */

	/* server -> kernel */
	DDSNAP_WELCOME		= 32,	/* struct ddsnap_welcome */
	DDSNAP_ATTACHED		= 33,	/* struct ddsnap_attached */
	DDSNAP_ACK		= 34,	/* struct ddsnap_ack */
	DDSNAP_MAPPED		= 35,	/* struct ddsnap_mapped, ddsnap_run [] */
	DDSNAP_GRANT		= 36,	/* struct ddsnap_range [] */
	DDSNAP_DENIED		= 37,	/* no payload */
	DDSNAP_BARRIER		= 38,	/* struct ddsnap_barrier */
	DDSNAP_RESUME		= 39,	/* struct ddsnap_resume */
	DDSNAP_DROP		= 40,	/* struct ddsnap_drop */
	DDSNAP_ABANDON		= 41,	/* struct ddsnap_refused */

	DDSNAP_CONTROL		= 64,	/* first type of the control frames */
};

struct ddsnap_frame {
	__le32 magic;		/* DDSNAP_MAGIC */
	__le32 type;		/* enum ddsnap_type */
	__le32 length;		/* bytes of payload */
	__le32 reserved;
	__le64 sequence;	/* REPORT: number of the first record; else 0 */
};

/* A device number as two 32-bit halves; both ends stat(2) the same nodes. */
struct ddsnap_dev {
	__le32 major;
	__le32 minor;
};

struct ddsnap_identify {
	struct ddsnap_dev store;
	struct ddsnap_dev origin;
	__le64 sectors;		/* length of the table line */
	__le32 tag;		/* DDSNAP_TAG_ORIGIN or a snapshot's tag */
	__le32 reserved;
};

struct ddsnap_identified {
	__u8   uuid[16];	/* of the volume */
	__le64 epoch;		/* of the snapshot; 0 for the origin */
	__le64 sectors;		/* size of the device that was asked for */
	__le32 chunk_shift;	/* log2 of sectors in a chunk */
	__le32 reserved;
};

struct ddsnap_refused {
	__le32 error;		/* a positive errno */
	__le32 reserved;
	char   reason[DDSNAP_REASON_MAX];	/* one line, NUL-terminated */
};

struct ddsnap_need_server {
	struct ddsnap_dev store;
	struct ddsnap_dev origin;
	struct ddsnap_dev dm_dev;	/* live device that takes "connect FD" */
	__u8   uuid[16];
};

struct ddsnap_hello {
	__le32 version;		/* DDSNAP_PROTOCOL */
	__le32 reserved;
	__u8   uuid[16];
	__u8   boot_id[16];	/* changes with every boot of this kernel */
	__le64 origin_sectors;	/* sizes of the underlying devices now */
	__le64 store_sectors;
};

struct ddsnap_welcome {
	__le32 version;
	__le32 chunk_shift;
	__u8   uuid[16];
	__le64 epoch;		/* of the last snapshot created; 0: none ever */
	__le64 live;		/* snapshots and bookmarks that need reports of copies */
};

struct ddsnap_attach {
	__le64 snapshot;	/* 0: the origin */
};

struct ddsnap_attached {
	__le64 snapshot;
	__le32 error;		/* 0, or a positive errno: absent or given up */
	__le32 reserved;
};

/*
 * The old content could not be read, or could not be written to the store: keep
 * an exception that reads as an error.  The addresses go back to the server.
 */
#define DDSNAP_REPORT_UNREADABLE 1u

struct ddsnap_report {
	__le64 snapshot;	/* whose private chunk; 0: copied from the origin */
	__le64 chunk;		/* first of `count` chunks */
	__le64 address;		/* first of `count` granted store chunks */
	__le32 count;		/* at least 1 */
	__le32 flags;		/* DDSNAP_REPORT_UNREADABLE or 0 */
};

struct ddsnap_map {
	__le64 id;		/* chosen by the kernel, returned in MAPPED */
	__le64 snapshot;
	__le64 chunk;
	__le32 count;		/* at least 1 */
	__le32 reserved;
};

enum ddsnap_run_kind {
	DDSNAP_RUN_ORIGIN	= 0,	/* still on the origin */
	DDSNAP_RUN_SHARED	= 1,	/* in the store, perhaps not its alone */
	DDSNAP_RUN_PRIVATE	= 2,	/* in the store, its alone: may be written */
	DDSNAP_RUN_UNREADABLE	= 3,	/* lost with a bad sector: reads fail */
};

struct ddsnap_run {
	__le64 address;		/* in the store; SHARED and PRIVATE only */
	__le32 count;		/* at least 1 */
	__le32 kind;		/* enum ddsnap_run_kind */
};

struct ddsnap_mapped {
	__le64 id;
	__le64 snapshot;
	__le64 chunk;		/* where the first run begins */
	__le32 runs;		/* at least 1; 0 when error is set */
	__le32 error;		/* 0 or a positive errno */
};

struct ddsnap_grant_wanted {
	__le64 chunks;		/* how many would be welcome; at least 1 */
};

struct ddsnap_range {
	__le64 address;
	__le64 count;
};

struct ddsnap_ack {
	__le64 through;		/* number of the last record answered */
	__le64 epoch;
};

struct ddsnap_barrier {
	__le64 id;
};

struct ddsnap_resume {
	__le64 id;		/* of the barrier; 0 without one */
	__le64 epoch;
	__le64 live;
};

struct ddsnap_drop {
	__le64 snapshot;
};

#endif /* _UAPI_DM_DDSNAP_H */

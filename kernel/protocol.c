// SPDX-License-Identifier: GPL-2.0
/*
 * protocol.c - what is said on the link: one function per frame.
 *
 * A handler is called with the payload's length in the range that its type
 * allows and answers whether the contents are valid now.  Nothing of a frame is
 * used before all of it was checked, but for the cumulative effect of records.
 */
#include <linux/slab.h>

#include "ddsnap.h"

/* ---- server to kernel ---- */

static bool range_valid(const struct ddsnap_volume *vol, u64 address, u64 count)
{
	return count && address < vol->store_chunks && count <= vol->store_chunks - address;
}

/*
 * A copy that an earlier link was told of may be recorded, under the epoch of
 * then; snapshots that were made since need one of their own, elsewhere, for
 * one store chunk cannot be two exceptions.  So it is not reported again but
 * forgotten, and its bios make a new one: they have not gone to the origin yet.
 *
 * The server's epoch is never behind ours, so that what was reported under
 * WELCOME's is recorded under no other.
 */
static void told_forget(struct ddsnap_volume *vol, u64 epoch)
{
	struct ddsnap_pending *p, *next;

	list_for_each_entry_safe(p, next, &vol->copied, list)
		if (!p->snapshot && p->told_epoch && p->told_epoch != epoch)
			ddsnap_pending_free(p);
}

static bool on_welcome(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_welcome *w = payload;
	u64 epoch = le64_to_cpu(w->epoch), live = le64_to_cpu(w->live);

	if (le32_to_cpu(w->version) != DDSNAP_PROTOCOL ||
	    le32_to_cpu(w->chunk_shift) != vol->chunk_shift ||
	    memcmp(w->uuid, &vol->uuid, sizeof(w->uuid)) || epoch < vol->epoch ||
	    live > epoch)
		return false;
	vol->link = LINK_ATTACH;
	vol->count.links++;
	if (vol->barrier == BARRIER_NONE && epoch != vol->epoch)
		DMWARN("%pU: the server made a snapshot without this kernel", &vol->uuid);
	if (vol->barrier != BARRIER_NONE || epoch != vol->epoch || live != vol->live)
		ddsnap_barrier_adopt(vol, epoch, live);
	told_forget(vol, epoch);
	return true;
}

static bool on_refused(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_refused *refused = payload;

	if (strnlen(refused->reason, DDSNAP_REASON_MAX) == DDSNAP_REASON_MAX)
		return false;
	DMERR_LIMIT("%pU: the server refuses: %s", &vol->uuid, refused->reason);
	ddsnap_link_close(vol, "refused");
	ddsnap_agent_wake(vol, 5);
	return true;
}

static void link_is_up(struct ddsnap_volume *vol)
{
	vol->link = LINK_UP;
	/*
	 * Ask once on every link, needed or not: GRANT_WANTED tells the server
	 * that all grants of earlier links are its own again.
	 */
	vol->grant_used = true;
	DMINFO("%pU: link to the server is up, epoch %llu", &vol->uuid,
	       vol->barrier == BARRIER_ADOPT ? vol->adopt_epoch : vol->epoch);
	ddsnap_event(vol, NULL);
	ddsnap_kick(vol);
}

static bool on_attached(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_attached *a = payload;
	struct ddsnap_snapshot *snap;

	if (vol->link == LINK_ATTACH && !vol->attaches)
		return false;
	mutex_lock(&vol->mutex);
	snap = ddsnap_snapshot_find(vol, le64_to_cpu(a->snapshot));
	if (snap && a->error) {
		snap->attached = false;
		if (snap->epoch)
			ddsnap_snapshot_drop(snap);
	}
	if (vol->link == LINK_ATTACH && !--vol->attaches)
		link_is_up(vol);
	mutex_unlock(&vol->mutex);
	return snap || vol->link == LINK_UP;
}

static bool on_ack(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_ack *ack = payload;
	u64 through = le64_to_cpu(ack->through), epoch = le64_to_cpu(ack->epoch);
	struct ddsnap_pending *p, *next;

	if (through >= vol->next_sequence || through < vol->acked_through)
		return false;
	/* A newer epoch than ours is about to come with RESUME, or is wrong. */
	if (epoch > vol->epoch && vol->barrier == BARRIER_NONE)
		return false;
	vol->acked_through = through;
	list_for_each_entry_safe(p, next, &vol->reported, list) {
		if (p->sequence > through)
			break;
		ddsnap_acked(p, epoch);
	}
	return true;
}

static bool runs_valid(const struct ddsnap_volume *vol, const struct ddsnap_mapreq *req,
		       const struct ddsnap_run *run, unsigned int nr)
{
	u64 total = 0;

	for (; nr; nr--, run++) {
		u32 count = le32_to_cpu(run->count), kind = le32_to_cpu(run->kind);

		total += count;
		if (!count || kind > DDSNAP_RUN_UNREADABLE || total > req->count)
			return false;
		if ((kind == DDSNAP_RUN_SHARED || kind == DDSNAP_RUN_PRIVATE) &&
		    !range_valid(vol, le64_to_cpu(run->address), count))
			return false;
	}
	return true;
}

static void mapped_failed(struct ddsnap_mapreq *req)
{
	struct ddsnap_io *io, *next;
	LIST_HEAD(ios);

	list_splice_init(&req->ios, &ios);
	list_splice_tail_init(&req->late, &ios);
	list_for_each_entry_safe(io, next, &ios, list) {
		list_del_init(&io->list);
		ddsnap_io_end(io, BLK_STS_IOERR);
	}
	ddsnap_mapreq_free(req->snapshot->volume, req);
}

static bool on_mapped(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_mapped *m = payload;
	unsigned int nr = le32_to_cpu(m->runs);
	struct ddsnap_mapreq *req;

	if (length != sizeof(*m) + (u64)nr * sizeof(struct ddsnap_run) || !nr != !!m->error)
		return false;
	list_for_each_entry(req, &vol->maps_sent, queue) {
		if (req->id != le64_to_cpu(m->id))
			continue;
		if (le64_to_cpu(m->snapshot) != req->snapshot->epoch ||
		    le64_to_cpu(m->chunk) != req->chunk ||
		    !runs_valid(vol, req, (const void *)(m + 1), nr))
			return false;
		if (m->error)
			mapped_failed(req);
		else
			ddsnap_snap_mapped(req, (const void *)(m + 1), nr);
		return true;
	}
	return false;
}

static bool on_grant(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_range *range = payload;
	unsigned int i, nr = length / sizeof(*range);

	if (!vol->grant_asked)
		return false;
	for (i = 0; i < nr; i++)
		if (!range_valid(vol, le64_to_cpu(range[i].address), le64_to_cpu(range[i].count)))
			return false;
	vol->grant_asked = false;
	vol->grant_used = false;
	for (i = 0; i < nr; i++)
		ddsnap_grant_add(vol, le64_to_cpu(range[i].address),
				 le64_to_cpu(range[i].count));
	ddsnap_io_later(vol, &vol->grant_ios);
	return true;
}

static bool on_denied(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	if (!vol->grant_asked)
		return false;
	ddsnap_grants_denied(vol);
	return true;
}

static bool on_barrier(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_barrier *b = payload;

	/* WELCOME may still be draining; its values are as good as ours then. */
	if (vol->barrier == BARRIER_ADOPT) {
		if (vol->adopt_epoch != vol->epoch)
			ddsnap_bits_clear_all(&vol->bits);
		vol->epoch = vol->adopt_epoch;
		vol->live = vol->adopt_live;
		ddsnap_set_pass(vol);
	} else if (vol->barrier != BARRIER_NONE) {
		return false;
	}
	if (!b->id)
		return false;
	ddsnap_barrier_start(vol, le64_to_cpu(b->id));
	return true;
}

static bool on_resume(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_resume *r = payload;
	u64 id = le64_to_cpu(r->id), epoch = le64_to_cpu(r->epoch), live = le64_to_cpu(r->live);
	bool adopting = vol->barrier == BARRIER_ADOPT;
	u64 now = adopting ? vol->adopt_epoch : vol->epoch;
	u64 now_live = adopting ? vol->adopt_live : vol->live;

	if (live > epoch)
		return false;
	if (id) {
		if (vol->barrier < BARRIER_DRAIN || id != vol->barrier_id || epoch < now)
			return false;
		/* Before READY there may be writes in flight. */
		if (epoch != now && (vol->barrier != BARRIER_READY || vol->ready_wanted))
			return false;
		ddsnap_barrier_adopt(vol, epoch, live);
		return true;
	}
	/* Without a barrier no snapshot may come to need copies. */
	if (epoch != now || (vol->barrier != BARRIER_NONE && !adopting) || (live && !now_live))
		return false;
	ddsnap_barrier_adopt(vol, epoch, live);
	return true;
}

/* No device here uses that snapshot; the server wants to hear so. */
static bool drop_unknown(struct ddsnap_volume *vol, u64 epoch)
{
	struct ddsnap_grant *d = kmalloc(sizeof(*d), GFP_NOIO);

	if (!d)
		return false;	/* it asks again on the next link */
	d->address = epoch;
	list_add_tail(&d->list, &vol->drops);
	return true;
}

static bool on_drop(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_drop *d = payload;
	struct ddsnap_snapshot *snap;
	u64 epoch = le64_to_cpu(d->snapshot);

	if (!epoch)
		return false;
	mutex_lock(&vol->mutex);
	snap = ddsnap_snapshot_find(vol, epoch);
	if (snap) {
		ddsnap_snapshot_drop(snap);
		snap->drop_answer = true;
	}
	mutex_unlock(&vol->mutex);
	return snap || drop_unknown(vol, epoch);
}

static bool on_abandon(struct ddsnap_volume *vol, const void *payload, unsigned int length)
{
	const struct ddsnap_refused *refused = payload;

	if (strnlen(refused->reason, DDSNAP_REASON_MAX) == DDSNAP_REASON_MAX)
		return false;
	DMERR("%pU: the server gives up all snapshots: %s", &vol->uuid, refused->reason);
	ddsnap_abandon(vol);
	return true;
}

#define STATE(s) (1u << (s))
#define LINKED	(STATE(LINK_ATTACH) | STATE(LINK_UP))

static const struct handler {
	unsigned int states;	/* of the link in which it may come */
	unsigned int head;	/* bytes that it has at least */
	unsigned int record;	/* 0, or what its length grows by */
	bool (*handle)(struct ddsnap_volume *vol, const void *payload, unsigned int length);
} handlers[] = {
#define HANDLER(type, states, head, record, fn) \
	[DDSNAP_##type - DDSNAP_REFUSED] = { states, head, record, fn }
	HANDLER(REFUSED, STATE(LINK_HELLO), sizeof(struct ddsnap_refused), 0, on_refused),
	HANDLER(WELCOME, STATE(LINK_HELLO), sizeof(struct ddsnap_welcome), 0, on_welcome),
	HANDLER(ATTACHED, LINKED, sizeof(struct ddsnap_attached), 0, on_attached),
	HANDLER(ACK, STATE(LINK_UP), sizeof(struct ddsnap_ack), 0, on_ack),
	HANDLER(MAPPED, STATE(LINK_UP), sizeof(struct ddsnap_mapped),
		sizeof(struct ddsnap_run), on_mapped),
	HANDLER(GRANT, STATE(LINK_UP), sizeof(struct ddsnap_range),
		sizeof(struct ddsnap_range), on_grant),
	HANDLER(DENIED, STATE(LINK_UP), 0, 0, on_denied),
	HANDLER(BARRIER, LINKED, sizeof(struct ddsnap_barrier), 0, on_barrier),
	HANDLER(RESUME, LINKED, sizeof(struct ddsnap_resume), 0, on_resume),
	HANDLER(DROP, LINKED, sizeof(struct ddsnap_drop), 0, on_drop),
	HANDLER(ABANDON, LINKED, sizeof(struct ddsnap_refused), 0, on_abandon),
#undef HANDLER
};

/* False: the frame is damaged or must not come now. */
bool ddsnap_frame_handle(struct ddsnap_volume *vol, const struct ddsnap_frame *frame,
			 const void *payload, unsigned int length)
{
	u32 index = le32_to_cpu(frame->type) - DDSNAP_REFUSED;
	const struct handler *h;

	if (index >= ARRAY_SIZE(handlers))
		return false;
	h = &handlers[index];
	if (!h->handle || !(STATE(vol->link) & h->states))
		return false;
	if (length < h->head)
		return false;
	if (h->record ? (length - h->head) % h->record : length != h->head)
		return false;
	return h->handle(vol, payload, length);
}

/* ---- kernel to server ---- */

static unsigned int frame_finish(u8 *buf, u32 type, unsigned int length, u64 sequence)
{
	struct ddsnap_frame *frame = (struct ddsnap_frame *)buf;

	frame->magic = cpu_to_le32(DDSNAP_MAGIC);
	frame->type = cpu_to_le32(type);
	frame->length = cpu_to_le32(length);
	frame->reserved = 0;
	frame->sequence = cpu_to_le64(sequence);
	return sizeof(*frame) + length;
}

/* All single-number payloads: barrier, drop, attach, grant_wanted. */
static unsigned int frame_number(u8 *buf, u32 type, u64 number)
{
	__le64 *payload = (__le64 *)(buf + sizeof(struct ddsnap_frame));

	*payload = cpu_to_le64(number);
	return frame_finish(buf, type, sizeof(*payload), 0);
}

static unsigned int frame_hello(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_hello *h = (struct ddsnap_hello *)(buf + sizeof(struct ddsnap_frame));

	/* It promises that no copy of an earlier link is under way. */
	if (vol->copies || !list_empty(&vol->fresh))
		return 0;
	/* And it gives back what those that failed did not need after all. */
	ddsnap_grants_drop(vol);
	ddsnap_volume_measure(vol);
	memset(h, 0, sizeof(*h));
	h->version = cpu_to_le32(DDSNAP_PROTOCOL);
	memcpy(h->uuid, &vol->uuid, sizeof(h->uuid));
	memcpy(h->boot_id, &ddsnap_boot_id, sizeof(h->boot_id));
	h->origin_sectors = cpu_to_le64(vol->origin_sectors);
	h->store_sectors = cpu_to_le64(vol->store_sectors);
	vol->next_sequence = 1;
	vol->acked_through = 0;
	vol->link = LINK_HELLO;
	return frame_finish(buf, DDSNAP_HELLO, sizeof(*h), 0);
}

static bool snapshot_quiet(struct ddsnap_snapshot *snap)
{
	return RB_EMPTY_ROOT(&snap->pendings) && list_empty(&snap->maps) &&
	       !atomic_read(&snap->inflight);
}

static unsigned int frame_attach(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_snapshot *snap;
	unsigned int r = 0;

	mutex_lock(&vol->mutex);
	list_for_each_entry(snap, &vol->snapshots, list) {
		if (!snap->attach_wanted)
			continue;
		snap->attach_wanted = false;
		if (!snap->targets && snapshot_quiet(snap))
			continue;
		snap->attached = true;
		if (vol->link == LINK_ATTACH)
			vol->attaches++;
		r = frame_number(buf, DDSNAP_ATTACH, snap->epoch);
		break;
	}
	/* Every device has gone in the meantime. */
	if (!r && vol->link == LINK_ATTACH && !vol->attaches)
		link_is_up(vol);
	mutex_unlock(&vol->mutex);
	return r;
}

/*
 * A copy that is under way must be reported before: it holds what the origin
 * held under this epoch, and its write may have gone on without it, when the
 * last snapshot went.  `hold` lets no new one begin.
 */
static unsigned int frame_ready(struct ddsnap_volume *vol, u8 *buf)
{
	if (!vol->ready_wanted || vol->origin_copies)
		return 0;
	vol->ready_wanted = false;
	return frame_number(buf, DDSNAP_READY, vol->barrier_id);
}

static unsigned int frame_dropped(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_snapshot *snap;
	unsigned int r = 0;

	if (!list_empty(&vol->drops)) {
		struct ddsnap_grant *d = list_first_entry(&vol->drops, struct ddsnap_grant, list);

		r = frame_number(buf, DDSNAP_DROPPED, d->address);
		list_del(&d->list);
		kfree(d);
		return r;
	}
	mutex_lock(&vol->mutex);
	list_for_each_entry(snap, &vol->snapshots, list) {
		if (!snap->drop_answer || atomic_read(&snap->inflight))
			continue;
		snap->drop_answer = false;
		r = frame_number(buf, DDSNAP_DROPPED, snap->epoch);
		break;
	}
	mutex_unlock(&vol->mutex);
	return r;
}

static unsigned int frame_detach(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_snapshot *snap;
	unsigned int r = 0;

	mutex_lock(&vol->mutex);
	list_for_each_entry(snap, &vol->snapshots, list) {
		if (!snap->attached || snap->targets ||
		    (!snapshot_quiet(snap) && !READ_ONCE(vol->stopping)))
			continue;
		snap->attached = false;
		snap->attach_wanted = false;
		r = frame_number(buf, DDSNAP_DETACH, snap->epoch);
		ddsnap_kick(vol);
		break;
	}
	mutex_unlock(&vol->mutex);
	return r;
}

static unsigned int frame_reports(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_report *r = (struct ddsnap_report *)(buf + sizeof(struct ddsnap_frame));
	u64 first = vol->next_sequence;
	unsigned int length = 0;
	struct ddsnap_pending *p, *next;

	list_for_each_entry_safe(p, next, &vol->copied, list) {
		if (length + sizeof(*r) > DDSNAP_MAX_PAYLOAD)
			break;
		if (p->snapshot && p->snapshot->dropped) {
			/* The next HELLO gives its address back. */
			ddsnap_pending_free(p);
			ddsnap_kick(vol);
			continue;
		}
		r->snapshot = cpu_to_le64(p->snapshot ? p->snapshot->epoch : 0);
		r->chunk = cpu_to_le64(p->chunk);
		r->address = cpu_to_le64(p->address);
		r->count = cpu_to_le32(p->count);
		r->flags = cpu_to_le32(p->flags);
		r++;
		length += sizeof(*r);
		p->sequence = vol->next_sequence++;
		p->told_epoch = vol->epoch;
		p->state = PENDING_REPORTED;
		list_move_tail(&p->list, &vol->reported);
	}
	return length ? frame_finish(buf, DDSNAP_REPORT, length, first) : 0;
}

static unsigned int frame_maps(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_map *m = (struct ddsnap_map *)(buf + sizeof(struct ddsnap_frame));
	struct ddsnap_mapreq *req, *next;
	unsigned int length = 0;

	list_for_each_entry_safe(req, next, &vol->maps_unsent, queue) {
		if (length + sizeof(*m) > DDSNAP_MAX_PAYLOAD)
			break;
		m->id = cpu_to_le64(req->id);
		m->snapshot = cpu_to_le64(req->snapshot->epoch);
		m->chunk = cpu_to_le64(req->chunk);
		m->count = cpu_to_le32(req->count);
		m->reserved = 0;
		m++;
		length += sizeof(*m);
		req->sent = true;
		list_move_tail(&req->queue, &vol->maps_sent);
	}
	return length ? frame_finish(buf, DDSNAP_MAP, length, 0) : 0;
}

static unsigned int frame_returns(struct ddsnap_volume *vol, u8 *buf)
{
	struct ddsnap_range *r = (struct ddsnap_range *)(buf + sizeof(struct ddsnap_frame));
	unsigned int length = 0;
	struct ddsnap_grant *g;

	if (!READ_ONCE(vol->stopping))
		return 0;
	list_for_each_entry(g, &vol->grants, list) {
		if (length + sizeof(*r) > DDSNAP_MAX_PAYLOAD)
			break;
		r->address = cpu_to_le64(g->address);
		r->count = cpu_to_le64(g->count);
		r++;
		length += sizeof(*r);
	}
	ddsnap_grants_drop(vol);
	return length ? frame_finish(buf, DDSNAP_RETURN, length, 0) : 0;
}

static unsigned int frame_grant_wanted(struct ddsnap_volume *vol, u8 *buf)
{
	if (!ddsnap_grants_wanted(vol))
		return 0;
	vol->grant_asked = true;
	return frame_number(buf, DDSNAP_GRANT_WANTED, vol->grant_batch);
}

/* Writes the next thing to say into @buf.  Returns its length, 0 for nothing. */
unsigned int ddsnap_frame_next(struct ddsnap_volume *vol, u8 *buf)
{
	switch (vol->link) {
	case LINK_NEW:
		return frame_hello(vol, buf);
	case LINK_ATTACH:
		/*
		 * Nothing else until all devices are named.  A barrier may come by
		 * now; its READY waits for step 3 of the protocol, which ATTACHED
		 * brings whether or not the server waits for READY.
		 */
		return frame_attach(vol, buf);
	case LINK_UP:
		/*
		 * Reports and maps before the first GRANT_WANTED of a link.  Reports
		 * before READY: what an earlier link recorded without the kernel
		 * hearing of it is recognised under the epoch of then only, and
		 * READY lets the next epoch begin.  While a barrier holds writes no
		 * origin copy begins, so READY does not wait for ever.
		 */
		return frame_attach(vol, buf) ?: frame_reports(vol, buf) ?:
		       frame_ready(vol, buf) ?: frame_maps(vol, buf) ?:
		       frame_dropped(vol, buf) ?: frame_returns(vol, buf) ?:
		       frame_detach(vol, buf) ?: frame_grant_wanted(vol, buf);
	default:
		return 0;
	}
}

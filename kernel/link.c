// SPDX-License-Identifier: GPL-2.0
/*
 * link.c - the socket to the server.
 *
 * The worker alone sends and receives, and never waits for the other side: the
 * socket's callbacks kick it when there is something to read, room to write, or
 * an end.  A full socket thus cannot keep the worker from reading what the
 * server waits to get rid of.  Nothing on this way allocates memory that needs
 * I/O.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/un.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "ddsnap.h"

#define READS_MAX	16	/* in one pass of the worker */

/* ---- callbacks of the socket ---- */

static void sock_data_ready(struct sock *sk)
{
	struct ddsnap_volume *vol;

	read_lock_bh(&sk->sk_callback_lock);
	vol = sk->sk_user_data;
	if (vol) {
		WRITE_ONCE(vol->readable, 1);
		ddsnap_kick(vol);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void sock_state_change(struct sock *sk)
{
	sock_data_ready(sk);
}

/* Every message that the server takes makes room: news only to who wants it. */
static void sock_write_space(struct sock *sk)
{
	struct ddsnap_volume *vol;

	read_lock_bh(&sk->sk_callback_lock);
	vol = sk->sk_user_data;
	if (vol && READ_ONCE(vol->tx_len))
		ddsnap_kick(vol);
	read_unlock_bh(&sk->sk_callback_lock);
}

static bool sock_hook(struct ddsnap_volume *vol, struct socket *sock)
{
	struct sock *sk = sock->sk;
	bool free;

	write_lock_bh(&sk->sk_callback_lock);
	free = !sk->sk_user_data;
	if (free) {
		sk->sk_user_data = vol;
		vol->old_data_ready = sk->sk_data_ready;
		vol->old_state_change = sk->sk_state_change;
		vol->old_write_space = sk->sk_write_space;
		sk->sk_data_ready = sock_data_ready;
		sk->sk_state_change = sock_state_change;
		sk->sk_write_space = sock_write_space;
		sk->sk_allocation = GFP_NOIO;
	}
	write_unlock_bh(&sk->sk_callback_lock);
	return free;
}

static void sock_unhook(struct ddsnap_volume *vol, struct socket *sock)
{
	struct sock *sk = sock->sk;

	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	sk->sk_data_ready = vol->old_data_ready;
	sk->sk_state_change = vol->old_state_change;
	sk->sk_write_space = vol->old_write_space;
	write_unlock_bh(&sk->sk_callback_lock);
}

/* ---- coming and going ---- */

/* The message "connect FD": takes the caller's descriptor as the new link. */
int ddsnap_link_connect(struct ddsnap_volume *vol, int fd)
{
	struct socket *sock;
	int r = 0;

	sock = sockfd_lookup(fd, &r);
	if (!sock)
		return r;
	if (sock->sk->sk_family != AF_UNIX || sock->type != SOCK_STREAM ||
	    READ_ONCE(sock->sk->sk_state) != TCP_ESTABLISHED) {
		sockfd_put(sock);
		return -EINVAL;
	}
	spin_lock_irq(&vol->lock);
	if (vol->new_sock || READ_ONCE(vol->link) != LINK_DOWN)
		r = -EBUSY;
	else
		vol->new_sock = sock;
	spin_unlock_irq(&vol->lock);
	if (r)
		sockfd_put(sock);
	else
		ddsnap_kick(vol);
	return r;
}

static void link_open(struct ddsnap_volume *vol)
{
	struct socket *sock;

	spin_lock_irq(&vol->lock);
	sock = vol->new_sock;
	vol->new_sock = NULL;
	if (sock)
		WRITE_ONCE(vol->link, LINK_NEW);
	spin_unlock_irq(&vol->lock);
	if (!sock)
		return;
	if (!sock_hook(vol, sock)) {
		DMERR("%pU: the socket given is somebody else's", &vol->uuid);
		WRITE_ONCE(vol->link, LINK_DOWN);
		sockfd_put(sock);
		return;
	}
	vol->sock = sock;
	WRITE_ONCE(vol->readable, 1);
}

static void snapshots_unlink(struct ddsnap_volume *vol)
{
	struct ddsnap_snapshot *snap;

	mutex_lock(&vol->mutex);
	list_for_each_entry(snap, &vol->snapshots, list) {
		snap->attached = false;
		snap->attach_wanted = true;
		snap->drop_answer = false;
	}
	ddsnap_event(vol, NULL);
	mutex_unlock(&vol->mutex);
}

void ddsnap_drops_forget(struct ddsnap_volume *vol)
{
	struct ddsnap_grant *d, *next;

	list_for_each_entry_safe(d, next, &vol->drops, list)
		kfree(d);
	INIT_LIST_HEAD(&vol->drops);
}

/* Everything that was not answered is to be sent again on the next link. */
static void link_forget(struct ddsnap_volume *vol)
{
	struct ddsnap_mapreq *req;
	struct ddsnap_pending *p;

	list_for_each_entry(p, &vol->reported, list)
		p->state = PENDING_COPIED;
	list_splice_init(&vol->reported, &vol->copied);
	list_for_each_entry(req, &vol->maps_sent, queue)
		req->sent = false;
	list_splice_init(&vol->maps_sent, &vol->maps_unsent);
	ddsnap_grants_drop(vol);
	ddsnap_drops_forget(vol);
	vol->rx_len = 0;
	vol->tx_len = 0;
	vol->tx_off = 0;
	vol->attaches = 0;
}

static void sock_release_hooked(struct ddsnap_volume *vol)
{
	sock_unhook(vol, vol->sock);
	kernel_sock_shutdown(vol->sock, SHUT_RDWR);
	sockfd_put(vol->sock);
	vol->sock = NULL;
}

/* Worker.  I/O that needs the server waits for the next link. */
void ddsnap_link_close(struct ddsnap_volume *vol, const char *why)
{
	bool was_up = vol->link == LINK_UP;

	if (!vol->sock)
		return;
	DMWARN_LIMIT("%pU: link to the server lost: %s", &vol->uuid, why);
	sock_release_hooked(vol);
	WRITE_ONCE(vol->link, LINK_DOWN);
	link_forget(vol);
	ddsnap_barrier_link_lost(vol);
	snapshots_unlink(vol);
	ddsnap_agent_wake(vol, was_up ? 0 : 1);
}

/* Worker.  The volume goes away: no callback comes after this. */
static void link_end(struct ddsnap_volume *vol)
{
	if (vol->sock)
		sock_release_hooked(vol);
	if (vol->new_sock)
		sockfd_put(vol->new_sock);
	vol->new_sock = NULL;
}

/*
 * Ends the link for good.  The worker does it, because a callback of the socket
 * may start the worker at any time.
 */
void ddsnap_link_stop(struct ddsnap_volume *vol)
{
	WRITE_ONCE(vol->closing, true);
	ddsnap_kick(vol);
	flush_work(&vol->work);
}

/* ---- receiving ---- */

/* Handles all whole frames in the buffer.  False: the link was closed. */
static bool frames_handle(struct ddsnap_volume *vol)
{
	const struct ddsnap_frame *frame;
	unsigned int off = 0, length;

	while (vol->rx_len - off >= sizeof(*frame)) {
		frame = (const void *)(vol->rx + off);
		length = le32_to_cpu(frame->length);
		if (le32_to_cpu(frame->magic) != DDSNAP_MAGIC || length > DDSNAP_MAX_PAYLOAD ||
		    length % 8) {
			ddsnap_link_close(vol, "damaged frame header");
			return false;
		}
		if (vol->rx_len - off < sizeof(*frame) + length)
			break;
		off += sizeof(*frame) + length;
		if (!ddsnap_frame_handle(vol, frame, frame + 1, length)) {
			DMERR_LIMIT("%pU: frame of type %u and %u bytes is not valid now",
				    &vol->uuid, le32_to_cpu(frame->type), length);
			ddsnap_link_close(vol, "damaged or unexpected frame");
			return false;
		}
		if (!vol->sock)
			return false;
	}
	memmove(vol->rx, vol->rx + off, vol->rx_len - off);
	vol->rx_len -= off;
	return true;
}

void ddsnap_link_receive(struct ddsnap_volume *vol)
{
	int reads, r;

	if (READ_ONCE(vol->closing)) {
		link_end(vol);
		return;
	}
	if (!vol->sock)
		link_open(vol);
	if (!vol->sock || !READ_ONCE(vol->readable))
		return;
	for (reads = 0; vol->sock; reads++) {
		struct kvec vec = { vol->rx + vol->rx_len, DDSNAP_RX_SIZE - vol->rx_len };
		struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };

		if (reads == READS_MAX) {
			ddsnap_kick(vol);
			break;
		}
		/* Cleared before the look; what comes later sets it, and kicks. */
		xchg(&vol->readable, 0);
		r = kernel_recvmsg(vol->sock, &msg, &vec, 1, vec.iov_len, msg.msg_flags);
		if (r == -EAGAIN)
			break;
		WRITE_ONCE(vol->readable, 1);
		if (r == -EINTR)
			break;
		if (r <= 0) {
			ddsnap_link_close(vol, r ? "cannot receive" : "closed by the server");
			break;
		}
		vol->rx_len += r;
		if (!frames_handle(vol))
			break;
	}
}

/* ---- sending ---- */

static bool tx_flush(struct ddsnap_volume *vol)
{
	while (vol->tx_off < vol->tx_len) {
		struct kvec vec = { vol->tx + vol->tx_off, vol->tx_len - vol->tx_off };
		struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
		int r = kernel_sendmsg(vol->sock, &msg, &vec, 1, vec.iov_len);

		if (r == -EAGAIN)
			return false;	/* sock_write_space() kicks */
		if (r == -ENOMEM || r == -ENOBUFS || r == -EINTR) {
			queue_delayed_work(vol->wq, &vol->retry, HZ / 50 + 1);
			return false;
		}
		if (r < 0) {
			ddsnap_link_close(vol, "cannot send");
			return false;
		}
		vol->tx_off += r;
	}
	vol->tx_off = 0;
	vol->tx_len = 0;
	return true;
}

/* Sends all that there is to say, in as few frames as it takes. */
void ddsnap_link_send(struct ddsnap_volume *vol)
{
	while (vol->sock && tx_flush(vol)) {
		vol->tx_len = ddsnap_frame_next(vol, vol->tx);
		if (!vol->tx_len)
			break;
	}
	/* Going away: said good-bye, or nobody is there to hear it. */
	if (READ_ONCE(vol->stopping) && !vol->tx_len && !vol->copies)
		complete_all(&vol->stopped);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * agent.c - short talks with the agent: who am I, and who is my server?
 *
 * IDENTIFY runs in the constructor and may be interrupted.  NEED_SERVER runs on
 * a work of its own, apart from the volume's worker, because to look up the
 * agent's path may need I/O.  It stays connected until the message "connect"
 * has brought a link, and tries again every second.
 */
#include <linux/delay.h>
#include <linux/net.h>
#include <linux/sched/signal.h>
#include <linux/socket.h>
#include <linux/un.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "ddsnap.h"

#define RETRY_TIMEOUT	(10 * HZ)	/* then a talk that failed was the last */
#define IDENTIFY_TIMEOUT	(30 * HZ)

static struct workqueue_struct *agent_wq;

int ddsnap_agent_init(void)
{
	agent_wq = alloc_workqueue("ddsnap_agent", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return agent_wq ? 0 : -ENOMEM;
}

void ddsnap_agent_exit(void)
{
	destroy_workqueue(agent_wq);
}

void ddsnap_dev_pack(struct ddsnap_dev *out, dev_t dev)
{
	out->major = cpu_to_le32(MAJOR(dev));
	out->minor = cpu_to_le32(MINOR(dev));
}

/* A path that begins with '@' is an abstract name. */
static int agent_connect(const char *path, int flags, struct socket **ret)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	struct socket *sock;
	int r;

	if (!length || length >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, length);
	if (addr.sun_path[0] == '@')
		addr.sun_path[0] = 0;
	else
		length++;
	r = sock_create_kern(&init_net, AF_UNIX, SOCK_STREAM, 0, &sock);
	if (r)
		return r;
	sock->sk->sk_allocation = GFP_NOIO;
	sock->sk->sk_sndtimeo = IDENTIFY_TIMEOUT;
	sock->sk->sk_rcvtimeo = IDENTIFY_TIMEOUT;
	r = compat_kernel_connect(sock, &addr, offsetof(struct sockaddr_un, sun_path) + length,
				  flags);
	if (r)
		sock_release(sock);
	else
		*ret = sock;
	return r;
}

static int agent_send(struct socket *sock, u32 type, const void *payload,
		      unsigned int length, int flags)
{
	struct ddsnap_frame frame = {
		.magic = cpu_to_le32(DDSNAP_MAGIC),
		.type = cpu_to_le32(type),
		.length = cpu_to_le32(length),
	};
	struct kvec vec[] = {
		{ &frame, sizeof(frame) },
		{ (void *)payload, length },
	};
	struct msghdr msg = { .msg_flags = flags | MSG_NOSIGNAL };
	int r = kernel_sendmsg(sock, &msg, vec, ARRAY_SIZE(vec), sizeof(frame) + length);

	if (r < 0)
		return r;
	return r == sizeof(frame) + length ? 0 : -EIO;
}

static int agent_receive(struct socket *sock, void *buf, unsigned int length, int flags)
{
	struct kvec vec = { buf, length };
	struct msghdr msg = { .msg_flags = flags };
	int r = kernel_recvmsg(sock, &msg, &vec, 1, length, flags);

	if (r < 0)
		return r;
	return r == length ? 0 : -ECONNRESET;
}

/* One reply of the agent, of a type and length that it may have. */
union agent_reply {
	struct ddsnap_identified identified;
	struct ddsnap_refused refused;
};

static int agent_reply(struct socket *sock, union agent_reply *reply, int flags)
{
	struct ddsnap_frame frame;
	u32 type, length;
	int r;

	r = agent_receive(sock, &frame, sizeof(frame), flags);
	if (r)
		return r;
	type = le32_to_cpu(frame.type);
	length = le32_to_cpu(frame.length);
	if (le32_to_cpu(frame.magic) != DDSNAP_MAGIC ||
	    !((type == DDSNAP_IDENTIFIED && length == sizeof(reply->identified)) ||
	      (type == DDSNAP_REFUSED && length == sizeof(reply->refused))))
		return -EPROTO;
	r = agent_receive(sock, reply, length, flags);
	if (r)
		return r;
	if (type == DDSNAP_REFUSED)
		reply->refused.reason[DDSNAP_REASON_MAX - 1] = 0;
	return type;
}

/* ---- IDENTIFY ---- */

/* One talk; the reply's type, or an error. */
static int identify_once(const char *path, const struct ddsnap_identify *ask,
			 union agent_reply *reply, char **what)
{
	struct socket *sock;
	int r;

	*what = "Cannot connect to the agent";
	r = agent_connect(path, 0, &sock);
	if (r)
		return r;
	*what = "The agent does not answer";
	r = agent_send(sock, DDSNAP_IDENTIFY, ask, sizeof(*ask), 0);
	if (!r)
		r = agent_reply(sock, reply, MSG_WAITALL);
	sock_release(sock);
	return r;
}

/* An agent that is being replaced is not there, or goes away before it has answered. */
static bool agent_may_come(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE;
}

static int identify_patiently(const char *path, const struct ddsnap_identify *ask,
			      union agent_reply *reply, char **what)
{
	unsigned long until = jiffies + RETRY_TIMEOUT;
	int r;

	for (;;) {
		r = identify_once(path, ask, reply, what);
		if (!agent_may_come(r) || time_after(jiffies, until))
			return r;
		if (msleep_interruptible(200))
			return -EINTR;
	}
}

static int refused_errno(const struct ddsnap_refused *refused)
{
	u32 error = le32_to_cpu(refused->error);

	return error && error <= MAX_ERRNO ? -(int)error : -EIO;
}

/*
 * Asks what the table line means.  Waits for an agent that is about to start, and
 * for its answer; asks again when the agent went away.  A signal ends the wait.
 * On failure ti->error is set and the reason is logged.
 */
int ddsnap_agent_identify(struct dm_target *ti, const char *path,
			  const struct ddsnap_identify *ask, struct ddsnap_identified *ret)
{
	union agent_reply *reply = kzalloc(sizeof(*reply), GFP_KERNEL);
	int r;

	if (!reply) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	r = identify_patiently(path, ask, reply, &ti->error);
	if (r < 0)
		DMERR("no answer from the agent at %s: %d", path, r);
	if (r == DDSNAP_IDENTIFIED) {
		*ret = reply->identified;
		r = 0;
	} else if (r == DDSNAP_REFUSED) {
		ti->error = "Refused; the kernel log has the reason";
		r = refused_errno(&reply->refused);
		DMERR("the device of tag %d is refused: %s", (int)le32_to_cpu(ask->tag),
		      reply->refused.reason);
	} else if (r == -EAGAIN) {
		r = -ETIMEDOUT;
	} else if (r == -ERESTARTSYS) {
		r = -EINTR;
	}
	kfree(reply);
	return r;
}

/* ---- NEED_SERVER ---- */

/* The device number of a device that takes messages, or 0. */
static dev_t active_device(struct ddsnap_volume *vol)
{
	struct ddsnap_target *t;
	dev_t dev = 0;

	mutex_lock(&vol->mutex);
	list_for_each_entry(t, &vol->targets, list)
		if (t->active) {
			dev = disk_devt(dm_disk(dm_table_get_md(t->ti->table)));
			break;
		}
	mutex_unlock(&vol->mutex);
	return dev;
}

static void agent_hang_up(struct ddsnap_volume *vol)
{
	if (vol->agent_sock)
		sock_release(vol->agent_sock);
	vol->agent_sock = NULL;
}

static int need_server(struct ddsnap_volume *vol, dev_t dev)
{
	struct ddsnap_need_server ask = {};
	int r;

	scoped_with_init_fs()
		r = agent_connect(vol->agent_path, O_NONBLOCK, &vol->agent_sock);
	if (r)
		return r;
	ddsnap_dev_pack(&ask.store, vol->store->bd_dev);
	ddsnap_dev_pack(&ask.origin, vol->origin->bd_dev);
	ddsnap_dev_pack(&ask.dm_dev, dev);
	memcpy(ask.uuid, &vol->uuid, sizeof(ask.uuid));
	vol->agent_dev = dev;
	return agent_send(vol->agent_sock, DDSNAP_NEED_SERVER, &ask, sizeof(ask), MSG_DONTWAIT);
}

/* Seconds until the next look; 0: none is needed. */
static unsigned int agent_step(struct ddsnap_volume *vol)
{
	union agent_reply reply;
	dev_t dev;
	int r;

	if (READ_ONCE(vol->link) != LINK_DOWN || READ_ONCE(vol->stopping)) {
		agent_hang_up(vol);
		return 0;
	}
	dev = active_device(vol);
	/* The device that was named has gone: name another one. */
	if (vol->agent_sock && dev != vol->agent_dev)
		agent_hang_up(vol);
	if (!dev)
		return 0;	/* a resume wakes us */
	if (!vol->agent_sock) {
		r = need_server(vol, dev);
		if (r) {
			agent_hang_up(vol);
			DMWARN_LIMIT("%pU: cannot ask the agent for a server: %d", &vol->uuid, r);
		}
		return 1;
	}
	r = agent_reply(vol->agent_sock, &reply, MSG_DONTWAIT);
	if (r == -EAGAIN)
		return 1;
	agent_hang_up(vol);
	if (r != DDSNAP_REFUSED)
		return 1;
	DMERR_LIMIT("%pU: the agent refuses: %s", &vol->uuid, reply.refused.reason);
	return 5;
}

void ddsnap_agent_work(struct work_struct *work)
{
	struct ddsnap_volume *vol = container_of(to_delayed_work(work),
						 struct ddsnap_volume, agent_work);
	unsigned int seconds;

	mutex_lock(&vol->agent_mutex);
	seconds = agent_step(vol);
	mutex_unlock(&vol->agent_mutex);
	if (seconds)
		ddsnap_agent_wake(vol, seconds);
}

/* Any context.  Has the agent asked in @seconds, if that is still needed. */
void ddsnap_agent_wake(struct ddsnap_volume *vol, unsigned int seconds)
{
	if (!READ_ONCE(vol->stopping))
		mod_delayed_work(agent_wq, &vol->agent_work, seconds * HZ);
}

void ddsnap_agent_close(struct ddsnap_volume *vol)
{
	cancel_delayed_work_sync(&vol->agent_work);
	agent_hang_up(vol);
}

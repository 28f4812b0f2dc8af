/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - what differs between kernels.  The rest of the module is written
 * for the newest one; here, and only here, its calls are made to fit older
 * ones.  Kbuild compiles probes/NAME.c against the kernel and says
 * HAVE_NAME in the generated probed.h when that worked.  No version numbers:
 * stable branches and distributions take changes back.
 */
#ifndef DDSNAP_COMPAT_H
#define DDSNAP_COMPAT_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/net.h>
#include <linux/un.h>

#include "probed.h"

#ifndef HAVE_CONTROL_PASS
#error "a probe that must compile did not: the kernel's build tree is not usable"
#endif
#ifdef HAVE_CONTROL_FAIL
#error "a probe that must not compile did: the probes say nothing"
#endif

/* A flush of @bdev.  5.18 gave bio_init() the device and operation. */
static inline void compat_bio_init_flush(struct bio *bio, struct block_device *bdev)
{
#ifdef HAVE_BIO_INIT_BDEV
	bio_init(bio, bdev, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC);
#else
	bio_init(bio, NULL, 0);
	bio_set_dev(bio, bdev);
	bio->bi_opf = REQ_OP_WRITE | REQ_PREFLUSH | REQ_SYNC;
#endif
}

/* Never fails.  5.18 replaced bio_clone_fast() by bio_alloc_clone(). */
static inline struct bio *compat_bio_clone(struct block_device *bdev, struct bio *bio,
					   struct bio_set *bs)
{
#ifdef HAVE_BIO_ALLOC_CLONE
	return bio_alloc_clone(bdev, bio, GFP_NOIO, bs);
#else
	struct bio *clone = bio_clone_fast(bio, GFP_NOIO, bs);

	bio_set_dev(clone, bdev);
	return clone;
#endif
}

/*
 * What the worker passes on has waited already, and its owner does not look at
 * it: it must not end with -EAGAIN, and not need to be polled for to end at all.
 * 5.16 renamed REQ_HIPRI.
 */
static inline void compat_bio_may_wait(struct bio *bio)
{
#ifdef HAVE_REQ_POLLED
	bio->bi_opf &= ~(REQ_NOWAIT | REQ_POLLED);
#else
	bio->bi_opf &= ~(REQ_NOWAIT | REQ_HIPRI);
#endif
}

#ifndef HAVE_BDEV_NR_SECTORS
/* 5.16 */
static inline sector_t bdev_nr_sectors(struct block_device *bdev)
{
	return i_size_read(bdev->bd_inode) >> SECTOR_SHIFT;
}
#endif

/* 7.0 gave socket addresses a type without a size. */
static inline int compat_kernel_connect(struct socket *sock, struct sockaddr_un *addr,
					int length, int flags)
{
#ifdef HAVE_SOCKADDR_UNSIZED
	return kernel_connect(sock, (struct sockaddr_unsized *)addr, length, flags);
#else
	return kernel_connect(sock, (struct sockaddr *)addr, length, flags);
#endif
}

/*
 * From 7.3 on a kernel thread finds no path unless it looks with the eyes of
 * init, as all of them did before.
 */
#ifdef HAVE_SCOPED_WITH_INIT_FS
#include <linux/fs_struct.h>
#else
#define scoped_with_init_fs()
#endif

/* Bounds discard and write-zeroes.  6.17 has a third limit that must agree. */
static inline void compat_limit_zeroes(struct queue_limits *limits, unsigned int sectors)
{
	limits->max_discard_sectors = min(limits->max_discard_sectors, sectors);
	limits->max_hw_discard_sectors = min(limits->max_hw_discard_sectors, sectors);
	limits->max_write_zeroes_sectors = min(limits->max_write_zeroes_sectors, sectors);
#ifdef HAVE_MAX_WZEROES_UNMAP
	if (limits->max_hw_wzeroes_unmap_sectors)
		limits->max_hw_wzeroes_unmap_sectors = limits->max_write_zeroes_sectors;
#endif
}

/* The third kind of status line, since 5.15. */
static inline void compat_status_ima(struct dm_target *ti, char *result, unsigned int maxlen,
				     const char *store, const char *origin, s64 tag)
{
	unsigned int sz = 0;

#ifdef HAVE_STATUSTYPE_IMA
	DMEMIT_TARGET_NAME_VERSION(ti->type);
	DMEMIT(",store=%s,origin=%s,tag=%lld;", store, origin, tag);
#else
	DMEMIT("%s", "");
#endif
}

#endif /* DDSNAP_COMPAT_H */

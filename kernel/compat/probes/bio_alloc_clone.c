// SPDX-License-Identifier: GPL-2.0
/* bio_alloc_clone() (5.18). */
#include <linux/bio.h>

struct bio *probe(struct bio *bio, struct block_device *bdev, struct bio_set *bs);
struct bio *probe(struct bio *bio, struct block_device *bdev, struct bio_set *bs)
{
	return bio_alloc_clone(bdev, bio, GFP_NOIO, bs);
}

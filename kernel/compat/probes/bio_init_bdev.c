// SPDX-License-Identifier: GPL-2.0
/* bio_init() takes the device and the operation (5.18). */
#include <linux/bio.h>

void probe(struct bio *bio, struct block_device *bdev);
void probe(struct bio *bio, struct block_device *bdev)
{
	bio_init(bio, bdev, NULL, 0, REQ_OP_WRITE);
}

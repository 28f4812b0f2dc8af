// SPDX-License-Identifier: GPL-2.0
/* REQ_POLLED, until then REQ_HIPRI (5.16). */
#include <linux/blk_types.h>

void probe(struct bio *bio);
void probe(struct bio *bio)
{
	bio->bi_opf &= ~REQ_POLLED;
}

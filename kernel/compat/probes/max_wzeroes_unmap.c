// SPDX-License-Identifier: GPL-2.0
/* queue_limits.max_hw_wzeroes_unmap_sectors (6.17). */
#include <linux/blkdev.h>

unsigned int probe(struct queue_limits *limits);
unsigned int probe(struct queue_limits *limits)
{
	return limits->max_hw_wzeroes_unmap_sectors;
}

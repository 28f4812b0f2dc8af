// SPDX-License-Identifier: GPL-2.0
/*
 * bits.c - which chunks need no copy before they are written.
 *
 * A set bit says: the chunk's content as of the newest snapshot is safe.  A bit
 * wrongly clear costs a request; a bit wrongly set would corrupt a snapshot.
 * Hence every page of bits carries the generation in which it was filled, and a
 * new snapshot clears all bits by starting a new generation.
 *
 * Only the worker writes.  map() reads without a lock; the generation changes
 * only while no map() is between ddsnap_origin_write_starts()'s count and its
 * answer, because the barrier drains those.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "ddsnap.h"

#define BITS_SHIFT	(PAGE_SHIFT + 3)
#define BITS_MASK	((1ul << BITS_SHIFT) - 1)

int ddsnap_bits_init(struct ddsnap_bits *bits, u64 chunks)
{
	u64 pages = (chunks + BITS_MASK) >> BITS_SHIFT;

	if (pages > (SIZE_MAX >> 8) / sizeof(*bits->pages))
		return -EFBIG;
	bits->nr_pages = pages;
	bits->generation = 1;
	bits->pages = kvcalloc(pages, sizeof(*bits->pages), GFP_KERNEL);
	return bits->pages ? 0 : -ENOMEM;
}

void ddsnap_bits_exit(struct ddsnap_bits *bits)
{
	unsigned long i;

	if (!bits->pages)
		return;
	for (i = 0; i < bits->nr_pages; i++)
		free_page((unsigned long)bits->pages[i].map);
	kvfree(bits->pages);
	bits->pages = NULL;
}

bool ddsnap_bits_test(const struct ddsnap_bits *bits, u64 chunk)
{
	const struct ddsnap_bits_page *page = &bits->pages[chunk >> BITS_SHIFT];

	/* Pairs with ddsnap_bits_set(): the map is clean before it counts. */
	if (smp_load_acquire(&page->generation) != READ_ONCE(bits->generation))
		return false;
	return test_bit(chunk & BITS_MASK, page->map);
}

bool ddsnap_bits_all(const struct ddsnap_bits *bits, u64 first, u64 last)
{
	for (; first <= last; first++)
		if (!ddsnap_bits_test(bits, first))
			return false;
	return true;
}

/* Without memory the bit stays clear, which is safe. */
void ddsnap_bits_set(struct ddsnap_bits *bits, u64 chunk)
{
	struct ddsnap_bits_page *page = &bits->pages[chunk >> BITS_SHIFT];

	if (page->generation != bits->generation) {
		if (!page->map) {
			page->map = (unsigned long *)__get_free_page(GFP_NOWAIT | __GFP_NOWARN);
			if (!page->map)
				return;
		}
		clear_page(page->map);
		/* Pairs with ddsnap_bits_test(): a clean map comes first. */
		smp_store_release(&page->generation, bits->generation);
	}
	set_bit(chunk & BITS_MASK, page->map);
}

void ddsnap_bits_clear_all(struct ddsnap_bits *bits)
{
	WRITE_ONCE(bits->generation, bits->generation + 1);
}

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

/* NULL: no memory, or too many. */
struct ddsnap_bits_array *ddsnap_bits_array(u64 chunks)
{
	u64 pages = (chunks + BITS_MASK) >> BITS_SHIFT;
	struct ddsnap_bits_array *array;

	if (pages > (SIZE_MAX >> 8) / sizeof(array->pages[0]))
		return NULL;
	array = kvzalloc(struct_size(array, pages, pages), GFP_KERNEL);
	if (array)
		array->nr = pages;
	return array;
}

int ddsnap_bits_init(struct ddsnap_bits *bits, u64 chunks)
{
	bits->generation = 1;
	bits->array = ddsnap_bits_array(chunks);
	return bits->array ? 0 : -ENOMEM;
}

void ddsnap_bits_exit(struct ddsnap_bits *bits)
{
	struct ddsnap_bits_array *array = bits->array, *older;
	unsigned long i;

	if (!array)
		return;
	/* The newest has all maps. */
	for (i = 0; i < array->nr; i++)
		free_page((unsigned long)array->pages[i].map);
	for (; array; array = older) {
		older = array->older;
		kvfree(array);
	}
	bits->array = NULL;
}

bool ddsnap_bits_cover(const struct ddsnap_bits *bits, u64 chunks)
{
	return (chunks + BITS_MASK) >> BITS_SHIFT <= READ_ONCE(bits->array)->nr;
}

/*
 * The worker goes on with @array, which is larger.  A map() that still looks at
 * the old one finds the same maps under generations that were right: they change
 * only while it is not between count and answer.  So an old array need not be
 * current, only there: it is kept until the end.  Each growth costs one, of a
 * few bytes for each thirty thousand chunks.
 */
void ddsnap_bits_adopt(struct ddsnap_bits *bits, struct ddsnap_bits_array *array)
{
	struct ddsnap_bits_array *old = bits->array;

	memcpy(array->pages, old->pages, old->nr * sizeof(old->pages[0]));
	array->older = old;
	/* Pairs with bits_page(): the copy comes first. */
	smp_store_release(&bits->array, array);
}

static struct ddsnap_bits_page *bits_page(const struct ddsnap_bits *bits, u64 chunk)
{
	/* Pairs with ddsnap_bits_adopt(). */
	return &smp_load_acquire(&bits->array)->pages[chunk >> BITS_SHIFT];
}

bool ddsnap_bits_test(const struct ddsnap_bits *bits, u64 chunk)
{
	const struct ddsnap_bits_page *page = bits_page(bits, chunk);

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
	struct ddsnap_bits_page *page = bits_page(bits, chunk);

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

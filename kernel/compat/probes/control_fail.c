// SPDX-License-Identifier: GPL-2.0
/* Must not compile: control of the probes. */
#include <linux/bio.h>

int probe(struct bio *bio);
int probe(struct bio *bio)
{
	return bio->ddsnap_no_such_member;
}

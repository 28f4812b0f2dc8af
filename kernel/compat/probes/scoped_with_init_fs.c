// SPDX-License-Identifier: GPL-2.0
/* scoped_with_init_fs() (7.3). */
#include <linux/fs_struct.h>

int probe(void);
int probe(void)
{
	int inside = 0;

	scoped_with_init_fs()
		inside = 1;
	return inside;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * module.c - loading and unloading of dm-ddsnap.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "ddsnap.h"

/*
 * Tells the server whether the grants of an earlier link may still be in use.
 * No copy outlives the module, so a value per load is as good as one per boot.
 */
uuid_t ddsnap_boot_id;

unsigned int ddsnap_extents_max = 16384;
module_param_named(extents_max, ddsnap_extents_max, uint, 0644);
MODULE_PARM_DESC(extents_max, "Cached mappings per snapshot; more drops them all");

struct kmem_cache *ddsnap_pending_cache;
struct kmem_cache *ddsnap_mapreq_cache;

static int __init ddsnap_init(void)
{
	int r = -ENOMEM;

	uuid_gen(&ddsnap_boot_id);
	ddsnap_pending_cache = KMEM_CACHE(ddsnap_pending, 0);
	if (!ddsnap_pending_cache)
		return r;
	ddsnap_mapreq_cache = KMEM_CACHE(ddsnap_mapreq, 0);
	if (!ddsnap_mapreq_cache)
		goto out_pendings;
	r = ddsnap_agent_init();
	if (r)
		goto out_mapreqs;
	r = dm_register_target(&ddsnap_target_type);
	if (r)
		goto out_agent;
	return 0;

out_agent:
	ddsnap_agent_exit();
out_mapreqs:
	kmem_cache_destroy(ddsnap_mapreq_cache);
out_pendings:
	kmem_cache_destroy(ddsnap_pending_cache);
	return r;
}

static void __exit ddsnap_exit(void)
{
	dm_unregister_target(&ddsnap_target_type);
	ddsnap_agent_exit();
	kmem_cache_destroy(ddsnap_mapreq_cache);
	kmem_cache_destroy(ddsnap_pending_cache);
}

module_init(ddsnap_init);
module_exit(ddsnap_exit);

MODULE_DESCRIPTION("device-mapper ddsnap: snapshots kept by a user space server");
MODULE_AUTHOR("The Zumastor project");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0
/* kernel_connect() takes a struct sockaddr_unsized (7.0). */
#include <linux/net.h>
#include <linux/socket.h>

int probe(struct socket *sock, struct sockaddr_unsized *addr);
int probe(struct socket *sock, struct sockaddr_unsized *addr)
{
	return kernel_connect(sock, addr, 2, 0);
}

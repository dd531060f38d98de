/* SPDX-License-Identifier: BSD-3-Clause
 * The XDP program on the interface of an af_xdp port.  The driver's library takes its program off
 * at an orderly end, but only with privileges that a relay has dropped by then, and never after a
 * kill; and the next start may refuse to go on with the one it finds.  Main thread, before EAL, as
 * root. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>
#include "dataplane/io.h"

#define NETLINK_REPLY_MAX 8192 /* octets of one answer */

/* RTM_SETLINK { IFLA_XDP { IFLA_XDP_FD: -1 } } */
struct detach_request {
	struct nlmsghdr head;
	struct ifinfomsg link;
	struct nlattr xdp;
	struct nlattr fd;
	int32_t none;
};
static_assert(sizeof(struct detach_request) == 44, "attributes stand at multiples of 4");

/* The kernel's verdict: 0 or -errno. */
static int netlink_ask(const void *request, size_t n)
{
	union {
		struct nlmsghdr head;
		uint8_t octets[NETLINK_REPLY_MAX];
	} reply;
	const struct nlmsgerr *verdict = NLMSG_DATA(&reply.head);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), err = -EIO;

	if (fd < 0)
		return -errno;
	if (send(fd, request, n, 0) != (ssize_t)n)
		err = -errno;
	else if (recv(fd, &reply, sizeof(reply), 0) >= (ssize_t)NLMSG_LENGTH(sizeof(*verdict)) &&
		 reply.head.nlmsg_type == NLMSG_ERROR)
		err = verdict->error;
	close(fd);
	return err;
}

int xdp_detach(const char *device)
{
	struct detach_request r = {
		.head = {.nlmsg_type = RTM_SETLINK,                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_family = AF_UNSPEC,                                         .ifi_index = (int)if_nametoindex(device)},
		.xdp = {.nla_type = IFLA_XDP | NLA_F_NESTED},
		.fd = {.nla_type = IFLA_XDP_FD      },
		.none = -1,
	};

	r.head.nlmsg_len = sizeof(r);
	r.fd.nla_len = sizeof(r.fd) + sizeof(r.none);
	r.xdp.nla_len = (uint16_t)(sizeof(r.xdp) + r.fd.nla_len);
	return r.link.ifi_index ? netlink_ask(&r, sizeof(r)) : -ENODEV;
}

/* SPDX-License-Identifier: BSD-3-Clause
 * What the kernel knows of the interface behind a port: the descriptor its driver reads from, and
 * why it could not open one.  Main thread, at start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "dataplane/io.h"

#define MTU_SURELY_XDP 1500

#ifndef AF_XDP
#define AF_XDP 44
#endif

/* Of a TAP.  Its driver asks for a signal per frame, which would interrupt whatever thread the
 * kernel picks, and reads only after one came; without signals it reads whenever it is polled. */
static bool is_tap(int fd, const char *device)
{
	struct ifreq ifr = {0};
	int flags;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0 || strcmp(ifr.ifr_name, device) != 0)
		return false;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags & ~O_ASYNC);
	return true;
}

/* A packet socket with a receive ring on the interface. */
static bool is_packet_socket(int fd, unsigned ifindex)
{
	struct sockaddr_ll at;
	socklen_t n = sizeof(at);

	return getsockname(fd, (struct sockaddr *)&at, &n) == 0 && at.sll_family == AF_PACKET &&
	       at.sll_protocol != 0 && at.sll_ifindex == (int)ifindex;
}

static bool is_xdp_socket(int fd, unsigned ifindex)
{
	struct xdp_options options;
	socklen_t n = sizeof(options);
	int domain = 0;
	socklen_t domain_n = sizeof(domain);

	/* AF_XDP has no getsockname(): of several, the newest is that of the port just started. */
	(void)ifindex;
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_n) == 0 && domain == AF_XDP &&
	       getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &n) == 0;
}

static bool is_of_port(int fd, const struct port_conf *conf, unsigned ifindex)
{
	switch (conf->kind) {
	case PORT_TAP:
		return is_tap(fd, conf->device);
	case PORT_AF_PACKET:
		return is_packet_socket(fd, ifindex);
	case PORT_AF_XDP:
		return is_xdp_socket(fd, ifindex);
	default:
		return false;
	}
}

void port_find_fds(const struct port_conf *conf, int *fds, unsigned n)
{
	unsigned ifindex = if_nametoindex(conf->device);
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	for (unsigned q = 0; q < n; q++)
		fds[q] = -1;
	/* They come in rising order, and the queues' were opened in theirs: the last n.  A TAP has
	 * more, and each must be silenced. */
	while (dir && (e = readdir(dir))) {
		int fd = atoi(e->d_name);
		if (e->d_name[0] == '.' || fd == dirfd(dir) || !is_of_port(fd, conf, ifindex))
			continue;
		memmove(fds, fds + 1, (n - 1) * sizeof(*fds));
		fds[n - 1] = fd;
	}
	if (dir)
		closedir(dir);
}

int port_set_kernel_mtu(const char *device, uint16_t mtu)
{
	struct ifreq ifr = {.ifr_mtu = mtu};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, device, strnlen(device, IFNAMSIZ - 1));
	if (ioctl(fd, SIOCSIFMTU, &ifr) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static const char *capability_of(enum port_kind kind)
{
	switch (kind) {
	case PORT_TAP:
		return "CAP_NET_ADMIN";
	case PORT_AF_PACKET:
		return "CAP_NET_RAW";
	default:
		return "CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF";
	}
}

static void explain_tap(const struct port_conf *conf, char *out, size_t cap)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	memcpy(ifr.ifr_name, conf->device, strnlen(conf->device, IFNAMSIZ - 1));
	if (fd < 0)
		snprintf(out, cap, "/dev/net/tun: %s", strerror(errno));
	else if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		snprintf(out, cap, "%s (needs %s)", strerror(errno), capability_of(conf->kind));
	else
		snprintf(out, cap, "the driver refused it");
	if (fd >= 0)
		close(fd);
}

static void explain_interface(const struct port_conf *conf, char *out, size_t cap)
{
	int family = conf->kind == PORT_AF_XDP ? AF_XDP : AF_PACKET;
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (if_nametoindex(conf->device) == 0)
		snprintf(out, cap, "there is no such interface");
	else if (conf->kind == PORT_AF_XDP && conf->mtu > MTU_SURELY_XDP && fd >= 0)
		snprintf(out, cap,
			"the driver refused it; mtu %u may be more than it carries with XDP (needs "
			"%s)",
			conf->mtu, capability_of(conf->kind));
	else if (fd < 0)
		snprintf(out, cap, "%s (needs %s)", strerror(errno), capability_of(conf->kind));
	else
		snprintf(out, cap, "the driver refused it (needs %s)", capability_of(conf->kind));
	if (fd >= 0)
		close(fd);
}

void port_explain(const struct port_conf *conf, char *out, size_t cap)
{
	switch (conf->kind) {
	case PORT_TAP:
		explain_tap(conf, out, cap);
		break;
	case PORT_AF_PACKET:
	case PORT_AF_XDP:
		explain_interface(conf, out, cap);
		break;
	case PORT_PCI:
		snprintf(out, cap, "no DPDK driver took it (is it bound to vfio-pci?)");
		break;
	default:
		snprintf(out, cap, "the driver refused it");
		break;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/pcap.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "dataplane/base/clock.h"

#define PCAP_MAGIC    0xa1b2c3d4u /* microseconds, byte order of the writer */
#define PCAP_SNAPLEN  65535u
#define PCAP_ETHERNET 1u

struct pcap_file_header {
	uint32_t magic;
	uint16_t version_major, version_minor;
	uint32_t zone, accuracy, snaplen, link_type;
};

struct pcap_frame_header {
	uint32_t seconds, micros, kept, length;
};

void pcap_init(struct pcap *p, size_t max)
{
	*p = (struct pcap){.max = max};
}

void pcap_fini(struct pcap *p)
{
	free(p->octets);
	*p = (struct pcap){0};
}

void pcap_reset(struct pcap *p)
{
	p->n = p->lost = 0;
}

static bool room_make(struct pcap *p, size_t n)
{
	if (p->n + n <= p->size)
		return true;
	if (p->n + n > p->max)
		return false;
	size_t size = MIN(MAX(2 * p->size, p->n + n + 65536), p->max);
	uint8_t *octets = realloc(p->octets, size);
	BUG_ON(!octets);
	p->octets = octets;
	p->size = size;
	return true;
}

void pcap_add(struct pcap *p, uint64_t now_us, struct bytes frame)
{
	struct pcap_frame_header h = {
		.seconds = (uint32_t)(now_us / US_PER_SEC),
		.micros = (uint32_t)(now_us % US_PER_SEC),
		.kept = (uint32_t)frame.n,
		.length = (uint32_t)frame.n,
	};

	if (!room_make(p, sizeof(h) + frame.n)) {
		p->lost++;
		return;
	}
	memcpy(p->octets + p->n, &h, sizeof(h));
	memcpy(p->octets + p->n + sizeof(h), frame.p, frame.n);
	p->n += sizeof(h) + frame.n;
}

static int write_all(int fd, const void *from, size_t n)
{
	for (const uint8_t *p = from; n;) {
		ssize_t wrote = write(fd, p, n);
		if (wrote < 0)
			return -errno;
		p += wrote;
		n -= (size_t)wrote;
	}
	return 0;
}

int pcap_write(const struct pcap *p, const char *path)
{
	struct pcap_file_header h = {PCAP_MAGIC, 2, 4, 0, 0, PCAP_SNAPLEN, PCAP_ETHERNET};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	int wrong = write_all(fd, &h, sizeof(h));
	if (!wrong)
		wrong = write_all(fd, p->octets, p->n);
	close(fd);
	return wrong;
}

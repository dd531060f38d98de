/* SPDX-License-Identifier: BSD-3-Clause
 * Words of --so_flags: profiles of other systems, and single settings "name" or "name=value".  The
 * last one said counts.  OWNER: the thread that loads the library, before there is a stack. */
#include "tests/packetdrill/library.h"

#define LINUX_RCVBUF   (15u << 20) /* its window scale is 8 */
#define LINUX_QUICK    (16 * 1460) /* it delays no ACK of the first 16 segments */
#define FREEBSD_RCVBUF (2u << 20)  /* its window scale is 6: its largest socket buffer */
#define FIELD(f)       offsetof(struct pd_profile, f), sizeof(((struct pd_profile *)0)->f)
#define TCP(f)         FIELD(tcp.f)

/* A word sets all fields that stand with its name.  min == max: it takes no value and means this
 * one. */
static const struct {
	const char *name;
	size_t offset, size;
	uint64_t min, max;
} words_known[] = {
	{"linux",          FIELD(rcv_buffer),    LINUX_RCVBUF,         LINUX_RCVBUF        },
	{"linux",          FIELD(merge),         true,                 true                },
	{"linux",          FIELD(close_resets),  true,                 true                },
	{"linux",          FIELD(nagle),         true,                 true                },
	{"linux",          TCP(quick_ack_bytes), LINUX_QUICK,          LINUX_QUICK         },
	{"freebsd",        FIELD(rcv_buffer),    FREEBSD_RCVBUF,       FREEBSD_RCVBUF      },
	{"freebsd",        FIELD(close_resets),  true,                 true                },
	{"freebsd",        FIELD(nagle),         true,                 true                },
	{"mtu",            FIELD(mtu),           576,                  9000                },
	{"rcvbuf",         FIELD(rcv_buffer),    2048,                 1u << 30            },
	{"merge",          FIELD(merge),         true,                 true                },
	{"no-merge",       FIELD(merge),         false,                false               },
	{"nagle",          FIELD(nagle),         true,                 true                },
	{"cubic",          TCP(congestion),      STACK_CUBIC,          STACK_CUBIC         },
	{"newreno",        TCP(congestion),      STACK_NEWRENO,        STACK_NEWRENO       },
	{"ecn",            TCP(ecn),             STACK_ECN_ACTIVE,     STACK_ECN_ACTIVE    },
	{"ecn-passive",    TCP(ecn),             STACK_ECN_PASSIVE,    STACK_ECN_PASSIVE   },
	{"no-ecn",         TCP(ecn),             STACK_ECN_OFF,        STACK_ECN_OFF       },
	{"no-timestamps",  TCP(no_timestamps),   true,                 true                },
	{"no-sack",        TCP(no_sack),         true,                 true                },
	{"iw",             TCP(initial_window),  1,                    10                  },
	{"cookies-always", TCP(syn_cookies),     STACK_COOKIES_ALWAYS, STACK_COOKIES_ALWAYS},
	{"no-cookies",     TCP(syn_cookies),     STACK_COOKIES_OFF,    STACK_COOKIES_OFF   },
	{"syn-cache",      TCP(syn_cache),       1,                    16384               },
	{"quick-ack",      TCP(quick_ack_bytes), 1,                    1u << 30            },
	{"delack-ms",      TCP(delack_ms),       1,                    500                 },
};

static void field_set(struct pd_profile *p, size_t offset, size_t size, uint64_t value)
{
	uint8_t v8 = (uint8_t)value;
	uint16_t v16 = (uint16_t)value;
	uint32_t v32 = (uint32_t)value;
	const void *from = size == 1 ? (void *)&v8 : size == 2 ? (void *)&v16 : (void *)&v32;

	BUG_ON(size != 1 && size != 2 && size != 4);
	memcpy((uint8_t *)p + offset, from, size);
}

static bool word_apply(struct bytes word, struct pd_profile *p)
{
	ptrdiff_t eq = bytes_find(word, '=', 0);
	struct bytes name = eq < 0 ? word : bytes_first(word, (size_t)eq);
	bool known = false;

	for (unsigned i = 0; i < ARRAY_LEN(words_known); i++) {
		uint64_t value = words_known[i].min;
		bool takes = words_known[i].min != words_known[i].max;
		if (!bytes_eq(name, bytes_str(words_known[i].name)))
			continue;
		if (takes != (eq >= 0))
			return false;
		if (takes && (bytes_to_u64(bytes_skip(word, (size_t)eq + 1), &value) ||
				     value < words_known[i].min || value > words_known[i].max))
			return false;
		field_set(p, words_known[i].offset, words_known[i].size, value);
		known = true;
	}
	if (bytes_eq(name, BYTES_LIT("local")) && eq >= 0)
		known = p->has_local = ip_parse(bytes_skip(word, (size_t)eq + 1), &p->local) == 0;
	return known;
}

unsigned pd_profile_parse(const char *words, struct pd_profile *p_r)
{
	struct bytes left = bytes_str(words);
	unsigned unknown = 0;

	*p_r = (struct pd_profile){0};
	while (left.n) {
		ptrdiff_t comma = bytes_find(left, ',', 0);
		struct bytes word = comma < 0 ? left : bytes_first(left, (size_t)comma);
		left = bytes_skip(left, word.n + (comma >= 0));
		if (!word.n || word_apply(word, p_r))
			continue;
		fprintf(stderr, "so_flags: \"%.*s\" is not known or has no good value\n",
			(int)word.n, (const char *)word.p);
		unknown++;
	}
	return unknown;
}

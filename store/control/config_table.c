/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/config_priv.h"

#define CONFIG_STRUCT(s, help) static const struct config_field fields_##s[] = {
#define CONFIG_KEY(s, k, t, d, lo, hi, u, r, h)                                                    \
	{.key = #k,                                                                                \
		.kind = CONFIG_KIND_KEY,                                                           \
		.type = CONFIG_##t,                                                                \
		.def = d,                                                                          \
		.min = lo,                                                                         \
		.max = hi,                                                                         \
		.unit = u,                                                                         \
		.reload = CONFIG_##r,                                                              \
		.help = h,                                                                         \
		.offset = offsetof(struct config_##s, k)},
#define CONFIG_SUB(s, k)                                                                           \
	{.key = #k,                                                                                \
		.kind = CONFIG_KIND_SUB,                                                           \
		.sub = CONFIG_STRUCT_##k,                                                          \
		.offset = offsetof(struct config_##s, k)},
#define CONFIG_SEQ(s, k, element, m)                                                               \
	{.key = #k,                                                                                \
		.kind = CONFIG_KIND_SEQ,                                                           \
		.sub = CONFIG_STRUCT_##element,                                                    \
		.most = m,                                                                         \
		.offset = offsetof(struct config_##s, k),                                          \
		.count_offset = offsetof(struct config_##s, k##_n)},
#define CONFIG_END(s)                                                                              \
	}                                                                                          \
	;
#include "store/control/config.def"
#undef CONFIG_STRUCT
#undef CONFIG_KEY
#undef CONFIG_SUB
#undef CONFIG_SEQ
#undef CONFIG_END

const struct config_struct config_structs[CONFIG_STRUCT_N] = {
#define CONFIG_STRUCT(s, h)                                                                        \
	[CONFIG_STRUCT_##s] = {.name = #s,                                                         \
		.help = h,                                                                         \
		.size = sizeof(struct config_##s),                                                 \
		.fields = fields_##s,                                                              \
		.count = ARRAY_LEN(fields_##s)},
#define CONFIG_KEY(s, key, type, def, min, max, unit, reload, help)
#define CONFIG_SUB(s, key)
#define CONFIG_SEQ(s, key, element, most)
#define CONFIG_END(s)
#include "store/control/config.def"
};

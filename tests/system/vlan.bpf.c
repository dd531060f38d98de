/* SPDX-License-Identifier: BSD-3-Clause
 * What a VLAN interface does, for kernels without one: tc runs it on frames that leave by an
 * interface (section "push") and that come in (section "pop").  VLAN comes from the command line.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SECTION(name)  __attribute__((section(name), used))
#define ETH_P_8021Q_BE 0x0081 /* network byte order on the machines we test on */
#define VLAN_ID_MASK   0xfff

static long (*const vlan_push)(
	struct __sk_buff *skb, __u16 proto, __u16 tci) = (void *)BPF_FUNC_skb_vlan_push;
static long (*const vlan_pop)(struct __sk_buff *skb) = (void *)BPF_FUNC_skb_vlan_pop;

SECTION("push") int tag_push(struct __sk_buff *skb)
{
	return vlan_push(skb, ETH_P_8021Q_BE, VLAN) ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("pop") int tag_pop(struct __sk_buff *skb)
{
	if (!skb->vlan_present || (skb->vlan_tci & VLAN_ID_MASK) != VLAN)
		return TC_ACT_SHOT;
	return vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_OK;
}

SECTION("license") char tag_license[] = "BSD";

#!/bin/sh
# First process of a guest: devices, modules, the lab's code, then whoever takes commands.
/usr/bin/busybox --install -s /usr/bin 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmp /tmp
mount -t devpts pts /dev/pts
ln -sf /proc/self/fd /dev/fd
for module in $(cat /etc/modules); do
    insmod "/usr/lib/modules/$module.ko" || echo "init: cannot load $module"
done
ip link set lo up
for name in captures dissectors lab; do
    mkdir -p "/opt/rocelab/$name"
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro \
        "$name" "/opt/rocelab/$name" || echo "init: no share $name"
done
export HOME=/root PATH=/usr/sbin:/usr/bin PYTHONPATH=/opt/rocelab PYTHONPYCACHEPREFIX=/var/cache/python
cd /root
python3 -I -S -X pycache_prefix="$PYTHONPYCACHEPREFIX" /opt/rocelab/lab/hosts/vm/agent.py
poweroff -f

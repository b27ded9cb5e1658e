//! Devices and entities of a home, as MQTT discovery describes them. Pure: no socket, no clock, no task.

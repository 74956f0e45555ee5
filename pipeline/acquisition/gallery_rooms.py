"""Photographing a picture on a museum wall: perspective, distance, neighbours, visitors, light, blur and noise, from a random generator."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.contracts.catalogue import Box

Image = npt.NDArray[np.float32]
WIDTH, HEIGHT = 512, 384


@dataclass(frozen=True)
class Photo:
    """A photograph (HEIGHT, WIDTH, 3) uint8 RGB, and the box around the visible part of the picture."""

    pixels: npt.NDArray[np.uint8]
    box: Box


def photograph(picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> Photo:
    """One photograph of a hanging picture."""
    wall = _wall(rng)
    for _ in range(rng.integers(0, 4)):
        _hang(wall, _abstract_painting(rng), _corners(rng, rng.uniform(0.2, 0.5), spread=0.75), rng)
    aspect = picture.shape[1] / picture.shape[0]
    corners = _corners(rng, float(np.exp(rng.uniform(np.log(0.35), np.log(1.15)))), spread=0.27, aspect=aspect)
    _hang(wall, picture.astype(np.float32), corners, rng)
    _visitors(wall, corners, rng)
    x0, y0 = np.clip(corners.min(axis=0), 0, (WIDTH - 2, HEIGHT - 2))
    x1, y1 = np.clip(corners.max(axis=0), (x0 + 2, y0 + 2), (WIDTH, HEIGHT))
    return Photo(_camera(wall, rng), (float(round(x0)), float(round(y0)), float(round(x1)), float(round(y1))))


def _wall(rng: np.random.Generator) -> Image:
    """A plastered, panelled or papered wall."""
    wall = np.empty((HEIGHT, WIDTH, 3), np.float32)
    wall[:] = rng.uniform(60, 235, 3) * 0.4 + rng.uniform(60, 235) * 0.6
    coarse = rng.normal(0, 1, (HEIGHT // 32, WIDTH // 32, 1)).astype(np.float32)
    wall += rng.uniform(2, 22) * cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None]
    if rng.random() < 0.5:
        x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        angle, period = rng.uniform(0, np.pi), rng.uniform(10, 60)
        stripes = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        if rng.random() < 0.5:
            stripes = stripes * np.sin(2 * np.pi * (x * np.sin(angle) - y * np.cos(angle)) / period)
        wall += rng.uniform(4, 30) * stripes.astype(np.float32)[..., None] * rng.uniform(0.3, 1, 3).astype(np.float32)
    return wall


def _abstract_painting(rng: np.random.Generator) -> Image:
    """A neighbour that is no instance: shapes in random colours."""
    size = int(rng.integers(96, 200))
    canvas = np.empty((size, int(size * rng.uniform(0.7, 1.4)), 3), np.float32)
    canvas[:] = rng.uniform(0, 255, 3)
    for _ in range(rng.integers(4, 25)):
        colour = [float(value) for value in rng.uniform(0, 255, 3)]
        a, b = (tuple(int(value) for value in rng.integers(0, size, 2)) for _ in range(2))
        if rng.random() < 0.4:
            cv2.line(canvas, a, b, colour, int(rng.integers(1, 12)))
        elif rng.random() < 0.5:
            cv2.circle(canvas, a, int(rng.integers(3, size // 3)), colour, -1)
        else:
            cv2.rectangle(canvas, a, b, colour, -1)
    return np.asarray(canvas, np.float32)


def _corners(rng: np.random.Generator, scale: float, spread: float, aspect: float = 1.0) -> npt.NDArray[np.float32]:
    """Corners (4, 2) of a picture seen in perspective, clockwise from the top left; `scale` is its height against the photograph's."""
    height = scale * HEIGHT
    half = np.array([height * aspect, height]) / 2
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    yaw, pitch, roll = rng.uniform(-0.7, 0.7), rng.uniform(-0.3, 0.3), rng.normal(0, 0.06)
    turned = np.stack([square[:, 0] * np.cos(yaw), square[:, 1] * np.cos(pitch)], axis=1)
    depth = 1 + (square[:, 0] * np.sin(yaw) + square[:, 1] * np.sin(pitch)) / (1.6 * HEIGHT)
    turned /= np.clip(depth, 0.45, None)[:, None]
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    centre = np.array([WIDTH, HEIGHT]) * (0.5 + rng.uniform(-spread, spread, 2))
    return np.asarray(turned @ rotation.T + centre, np.float32)


def _hang(wall: Image, picture: Image, corners: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    """Warp a picture with its frame and shadow onto the wall, in place."""
    border = int(rng.integers(2, 22))
    colour = [float(value) for value in rng.uniform(10, 220) * rng.uniform(0.5, 1, 3)]
    framed = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_CONSTANT, value=colour)
    height, width = framed.shape[:2]
    inner = np.array([[border, border], [width - border, border], [width - border, height - border], [border, height - border]], np.float32)
    matrix = cv2.getPerspectiveTransform(inner, corners)
    mask = cv2.warpPerspective(np.ones((height, width), np.float32), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)[..., None]
    shadow = cv2.GaussianBlur(np.roll(mask[..., 0], (6, 5), (0, 1)), (0, 0), 6)[..., None]
    wall *= 1 - rng.uniform(0.1, 0.5) * shadow
    shrunk = cv2.contourArea(corners) / (picture.shape[0] * picture.shape[1])
    if shrunk < 1:  # antialias
        framed = cv2.GaussianBlur(framed, (0, 0), 0.45 / np.sqrt(max(shrunk, 1e-3)))
    warped = cv2.warpPerspective(framed, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    wall[:] = wall * (1 - mask) + warped * mask


def _visitors(wall: Image, corners: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    """Heads and shoulders in front of the picture, in place."""
    for _ in range(rng.choice(4, p=(0.5, 0.3, 0.15, 0.05))):
        radius = rng.uniform(0.1, 0.25) * float(np.sqrt(cv2.contourArea(corners)))
        x = float(rng.uniform(corners[:, 0].min(), corners[:, 0].max()))
        y = float(rng.uniform(corners[:, 1].mean(), corners[:, 1].max()))
        colour = rng.uniform(10, 170, 3).astype(np.float32)
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        cv2.circle(mask, (int(x), int(y)), int(radius), 1.0, -1)
        cv2.ellipse(mask, (int(x), int(y + 2.6 * radius)), (int(1.9 * radius), int(2 * radius)), 0, 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
        wall[:] = wall * (1 - soft) + colour * soft


def _camera(wall: Image, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Light, glare, blur, noise and exposure."""
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    direction = rng.uniform(-0.45, 0.45, 2)
    light = (rng.uniform(0.6, 1.15) * (1 + direction[0] * x + direction[1] * y)).astype(np.float32)[..., None]
    image = wall * light * rng.uniform(0.8, 1.15, 3).astype(np.float32)
    if rng.random() < 0.4:
        centre, size = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.02, 0.15)
        image += rng.uniform(40, 160) * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / size).astype(np.float32)[..., None]
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 2.0)))
    image = 255 * np.clip(image / 255, 0, 1) ** rng.uniform(0.7, 1.5)
    image += rng.normal(0, rng.uniform(1, 11), image.shape)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)

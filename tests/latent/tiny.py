"""A tiny autoencoder with random weights, as diffusers saves one."""

import torch


def save(folder, colours=1, halvings=1, **more):
    """Images of ``colours`` channels to latents of two, whose sides are ``2**halvings`` times smaller."""
    from diffusers import AutoencoderKL

    levels = halvings + 1
    torch.manual_seed(0)
    model = AutoencoderKL(
        in_channels=colours,
        out_channels=colours,
        latent_channels=2,
        block_out_channels=(4, 8, 8)[:levels],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=2,
        **{"scaling_factor": 0.5, "shift_factor": 0.25} | more,
    )
    model.save_pretrained(folder)
    return model
